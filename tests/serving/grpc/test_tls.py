"""With a certificate, gRPC is encrypted; strangers are turned away, and certificates are renewed without a restart."""

import os
import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from polserve.serving.client import ClientError, Credentials, InvalidArgument, PolicyClient
from polserve.serving.client.transport import TransportName
from polserve.serving.errors import ConfigurationError
from polserve.serving.tls import TlsFiles, read_certificates
from tests.support.certificates import DAY, Authority, Pair
from tests.support.running import Running, service, wait_until

OBSERVATION = [0.0, 0.0, 0.1, 0.5]
FRONTS = ("nghttp2", "grpcio")
TRANSPORTS: tuple[TransportName, ...] = ("grpcio", "nghttp2")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.sign("service")


@pytest.fixture(scope="module", params=FRONTS)
def mutual(
    request: pytest.FixtureRequest,
    policies: Path,
    authority: Authority,
    pair: Pair,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Running]:
    """A service that wants certificates of its clients."""
    files = ("--tls-cert", pair.certificate, "--tls-key", pair.key, "--tls-client-ca", authority.certificate)
    folder = tmp_path_factory.mktemp("mutual")
    options = ("--policies", policies, "--front", request.param, *files)
    with service(*map(str, options), folder=folder) as running:
        wait_until(running.is_up, running.log)
        yield running


def answer(target: str, credentials: Credentials | None, transport: TransportName = "grpcio") -> str:
    """The version that answers, or how the call fails."""
    with PolicyClient(target, credentials=credentials, transport=transport, timeout_s=10) as client:
        try:
            return client.act("cartpole", OBSERVATION).version
        except ClientError as error:
            assert error.code is grpc.StatusCode.UNAVAILABLE  # noqa: PT017 - each way of failing here
            return str(error)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_client_with_a_certificate_of_the_authority_is_answered(
    mutual: Running, authority: Authority, transport: TransportName
) -> None:
    own = authority.sign("client", hosts=())
    credentials = Credentials(ca=authority.certificate, certificate=own.certificate, key=own.key)
    port = mutual.target.rpartition(":")[2]
    for target in (mutual.target, f"dns:///localhost:{port}", f"ipv4:127.0.0.1:{port}"):
        assert answer(target, credentials, transport) == "1"
    with (
        PolicyClient(mutual.target, credentials=credentials, transport=transport) as client,
        client.episode("cartpole") as episode,
    ):
        assert episode.act(OBSERVATION).version == "1"


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("who", ["nobody", "expired", "early", "stranger"])
def test_a_client_without_a_valid_certificate_is_turned_away(
    mutual: Running, authority: Authority, tmp_path: Path, transport: TransportName, who: str
) -> None:
    pairs: dict[str, Callable[[], Pair | None]] = {
        "nobody": lambda: None,
        "expired": lambda: authority.sign("expired", hosts=(), begin=-2 * DAY, end=-DAY),
        "early": lambda: authority.sign("early", hosts=(), begin=DAY, end=2 * DAY),
        "stranger": lambda: Authority(tmp_path, "stranger").sign("client", hosts=()),
    }
    own = pairs[who]()
    certificate, key = (None, None) if own is None else (own.certificate, own.key)
    credentials = Credentials(ca=authority.certificate, certificate=certificate, key=key)
    told = answer(mutual.target, credentials, transport)
    assert "if it has --tls-client-ca, set certificate and key" in told


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_service_that_is_not_the_right_one_is_not_asked(
    policies: Path, tmp_path: Path, transport: TransportName
) -> None:
    authority = Authority(tmp_path)
    other = authority.sign("other.example", hosts=["other.example"])
    options = ("--policies", policies, "--tls-cert", other.certificate, "--tls-key", other.key)
    with service(*map(str, options), folder=tmp_path) as running:
        wait_until(running.is_up, running.log)
        distrusted = f"this client does not trust the certificate of {running.target}, or not for that name; set ca"
        trusting = Credentials(ca=authority.certificate, server_name="other.example")
        assert answer(running.target, trusting, transport) == "1"
        assert distrusted in answer(running.target, Credentials(ca=authority.certificate), transport)
        assert distrusted in answer(running.target, Credentials(tls=True, server_name="other.example"), transport)
        assert "if it has --tls-cert, set tls or ca" in answer(running.target, None, transport)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_service_without_tls_is_named_to_a_client_that_wants_it(running: Running, transport: TransportName) -> None:
    assert "speaks no TLS; leave out tls and ca" in answer(running.target, Credentials(tls=True), transport)


def test_what_is_older_than_tls_1_2_is_refused(mutual: Running, authority: Authority) -> None:
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    own = authority.sign("older", hosts=())  # so that nothing but the version is wrong
    context.load_cert_chain(own.certificate, own.key)
    with pytest.warns(DeprecationWarning, match="TLSv1 is deprecated"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    host, _, port = mutual.target.rpartition(":")
    with socket.create_connection((host, int(port))) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname=host)


@pytest.mark.parametrize("front", FRONTS)
def test_a_renewed_certificate_is_taken_without_a_restart_and_half_a_file_is_not(
    policies: Path, tmp_path: Path, front: str
) -> None:
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    pair, renewed = old.sign("service"), new.sign("service")
    options = ("--policies", policies, "--front", front, "--tls-cert", pair.certificate, "--tls-key", pair.key)
    both = tmp_path / "both.pem"
    both.write_bytes(old.certificate.read_bytes() + new.certificate.read_bytes())
    with service(*map(str, options), folder=tmp_path) as running:
        wait_until(running.is_up, running.log)

        def said(what: str) -> bool:
            """Whether the log says so; meanwhile no call fails, on a new connection each."""
            assert answer(running.target, Credentials(ca=both)) == "1"
            return what in running.log.read_text()

        pair.certificate.write_bytes(renewed.certificate.read_bytes()[:300])
        wait_until(lambda: said("event=not_reloaded what=certificates"), running.log)
        pair.certificate.write_bytes(renewed.certificate.read_bytes())  # whose key is yet to come
        wait_until(lambda: said("tls-key: expected the key of the certificate"), running.log)
        assert answer(running.target, Credentials(ca=old.certificate)) == "1"
        pair.key.write_bytes(renewed.key.read_bytes())
        wait_until(lambda: said("event=reloaded what=certificates"), running.log)
        wait_until(lambda: answer(running.target, Credentials(ca=new.certificate)) == "1", running.log)


def test_files_that_secure_nothing_are_named(authority: Authority, pair: Pair, tmp_path: Path) -> None:
    other = Authority(tmp_path).sign("other")
    empty = tmp_path / "empty.pem"
    empty.touch()
    expired = authority.sign("out", begin=-2 * DAY, end=-timedelta(hours=1))
    early = authority.sign("soon", begin=DAY, end=2 * DAY)
    another = TlsFiles(pair.certificate, other.key)
    problems = {
        "tls-cert: expected a file that can be read, got .*missing": TlsFiles(tmp_path / "missing", pair.key),
        "tls-key: expected a file with contents, got .*empty": TlsFiles(pair.certificate, empty),
        "tls-cert: expected certificates in PEM, got something else": TlsFiles(pair.key, pair.key),
        "tls-key: expected the key of the certificate in .*, got that of another": another,
        "tls-key: expected the key of .*, got something else": TlsFiles(pair.certificate, pair.certificate),
        "tls-cert: expected a certificate that is valid now, got one that expired": TlsFiles(
            expired.certificate, expired.key
        ),
        "tls-cert: expected a certificate that is valid now, got one that is valid from": TlsFiles(
            early.certificate, early.key
        ),
        "tls-client-ca: expected certificates in PEM": TlsFiles(pair.certificate, pair.key, pair.key),
    }
    for problem, files in problems.items():
        with pytest.raises(ConfigurationError, match=problem):
            read_certificates(files)


def test_a_client_names_the_file_that_it_cannot_use(authority: Authority, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"credentials\.ca: expected a file in PEM that can be read"):
        PolicyClient(credentials=Credentials(ca=tmp_path / "missing"))
    with pytest.raises(InvalidArgument, match="credentials: expected certificates and their key in PEM"):
        PolicyClient(credentials=Credentials(ca=os.devnull), transport="nghttp2")
    with pytest.raises(InvalidArgument, match=r"credentials\.key: expected a file beside credentials\.certificate"):
        Credentials(certificate=authority.certificate)
