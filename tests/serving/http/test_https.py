"""With a certificate, HTTP is encrypted too; probes need no certificate of their own, and callers may show one."""

import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from tests.support.certificates import Authority, Pair
from tests.support.running import environment, free_port, page, program, wait_until


@dataclass(frozen=True)
class Https:
    """A service that is asked over HTTPS, and the authorities of its certificate and of its clients'."""

    url: str
    target: str
    own: Authority
    pair: Pair
    clients: Authority
    log: Path

    def ask(self, path: str, shown: Pair | None = None, ca: Path | None = None) -> tuple[int, bytes]:
        """Status and body of a page; status 0 where there is no connection that is trusted."""
        context = ssl.create_default_context(cafile=str(ca or self.own.certificate))
        if shown is not None:
            context.load_cert_chain(shown.certificate, shown.key)
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
        try:
            with opener.open(self.url + path, timeout=10) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""


@pytest.fixture(scope="module")
def https(policies: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Https]:
    """A service with mutual TLS that knows one client by its certificate."""
    folder = tmp_path_factory.mktemp("https")
    own, clients = Authority(folder), Authority(folder, "clients")
    pair, listed = own.sign("service"), folder / "access.toml"
    listed.write_text('[[certificate]]\nname = "viewer"\nrole = "observe"\n')
    grpc_port, http_port = free_port(), free_port()
    files = ("--tls-cert", pair.certificate, "--tls-key", pair.key, "--tls-client-ca", clients.certificate)
    ports = ("--grpc-port", grpc_port, "--http-port", http_port)
    options = ("--policies", policies, "--access", listed, *files, *ports)
    with program("-m", "polserve", "serve", *map(str, options), log=folder / "log"):
        url, target = f"https://localhost:{http_port}", f"localhost:{grpc_port}"
        running = Https(url, target, own, pair, clients, folder / "log")
        wait_until(lambda: running.ask("/readyz")[0] == 200, running.log)
        yield running


def test_probes_need_no_certificate_and_pages_do(https: Https) -> None:
    viewer, stranger = https.clients.sign("viewer", hosts=()), https.clients.sign("stranger", hosts=())
    assert https.ask("/livez") == (200, b"ok\n")
    assert https.ask("/metrics")[0] == 401
    assert https.ask("/metrics", viewer)[0] == 200
    assert https.ask("/metrics", stranger)[0] == 403
    assert b"grpcurl -d" in https.ask("/", viewer)[1], "it says how to call it with TLS"
    assert https.ask("/livez", https.own.sign("other", hosts=()))[0] == 0, "of an authority that vouches for no client"


def test_metrics_tell_how_long_the_certificate_is_valid_and_what_could_not_be_read_again(https: Https) -> None:
    viewer = https.clients.sign("viewer", hosts=())

    def measured(name: str) -> float:
        lines = https.ask("/metrics", viewer)[1].decode().splitlines()
        return next(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"polserve_{name} "))

    expires = x509.load_pem_x509_certificate(https.pair.certificate.read_bytes()).not_valid_after_utc
    assert measured("certificate_expires_timestamp_seconds") == expires.timestamp()
    assert measured('reload_failed{what="access"}') == measured('reload_failed{what="certificates"}') == 0
    listed = https.log.with_name("access.toml")
    before = listed.read_text()
    try:
        listed.write_text("half a f")
        wait_until(lambda: measured('reload_failed{what="access"}') == 1, https.log)
    finally:
        listed.write_text(before)
    wait_until(lambda: measured('reload_failed{what="access"}') == 0, https.log)


def test_it_is_not_answered_in_the_clear_nor_trusted_by_others(https: Https, tmp_path: Path) -> None:
    assert page(https.url.replace("https:", "http:") + "/livez") == (0, "")
    assert https.ask("/livez", ca=Authority(tmp_path).certificate)[0] == 0


def test_the_health_check_of_the_image_speaks_tls_where_the_service_does(https: Https) -> None:
    port = https.url.rpartition(":")[2]
    env = environment(POLSERVE_TLS_CERT=str(https.pair.certificate), POLSERVE_HTTP_PORT=port)
    log = https.log.with_name("healthcheck")
    with program("-m", "polserve.serving.http.healthcheck", log=log, env=env) as process:
        assert process.wait(30) == 0, log.read_text()


def test_a_client_with_a_certificate_is_verified_at_each_connection(https: Https) -> None:
    context = ssl.create_default_context(cafile=str(https.own.certificate))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    viewer = https.clients.sign("viewer")
    context.load_cert_chain(viewer.certificate, viewer.key)
    session: ssl.SSLSession | None = None
    for _ in range(2):
        with (
            socket.create_connection(("localhost", int(https.url.rpartition(":")[2])), timeout=10) as connection,
            context.wrap_socket(connection, server_hostname="localhost", session=session) as encrypted,
        ):
            encrypted.sendall(b"GET /v1/policies HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            assert encrypted.recv(15) == b"HTTP/1.1 200 OK"
            session = encrypted.session
            assert not encrypted.session_reused


def test_a_renewed_certificate_is_taken_without_a_restart(https: Https, tmp_path: Path) -> None:
    new = Authority(tmp_path)
    renewed = new.sign("service")
    https.pair.certificate.write_bytes(renewed.certificate.read_bytes())
    https.pair.key.write_bytes(renewed.key.read_bytes())
    wait_until(lambda: https.ask("/livez", ca=new.certificate)[0] == 200, https.log)
    assert https.ask("/livez")[0] == 0
