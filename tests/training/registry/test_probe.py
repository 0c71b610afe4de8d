"""Before mlflow is imported, the registry is asked whether it is one, the way mlflow itself will ask."""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from polserve.training.errors import RegistryError
from polserve.training.registry import probe
from polserve.training.registry.address import reach
from polserve.training.registry.program import MLFLOW_SETTINGS, prepare_program
from tests.support.running import free_port


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.setenv(name, "")  # set back after the test, whatever the code under test did
        monkeypatch.setenv(name.upper(), "")
    for name in MLFLOW_SETTINGS:
        monkeypatch.setenv(name, os.environ.get(name, MLFLOW_SETTINGS[name]))
    monkeypatch.setattr(probe, "START_TIMEOUT_S", 0.0)


@contextlib.contextmanager
def pages(answers: dict[str, tuple[int, str, str]], port: int = 0) -> Iterator[int]:
    """An HTTP server with these pages: by path, status, content type and text; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, text = answers.get(self.path, (404, "text/html", "<h1>nothing here</h1>"))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@contextlib.contextmanager
def bytes_server(answer: bytes) -> Iterator[int]:
    """A server that answers anything with these bytes and closes; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


def refused(uri: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is said of an address that is refused."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(RegistryError) as refusal:
        reach()
    return str(refusal.value)


def test_a_registry_on_this_machine_is_reached_past_a_proxy_that_is_down(
    mlflow_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "corp.example")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
    prepare_program()
    assert reach() == mlflow_url


def test_a_function_that_sets_no_variable_names_the_proxy_and_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(RegistryError, match=r"cannot be reached through the proxy .*, or name the host in no_proxy"):
        reach("http://127.0.0.1:1")


@pytest.mark.parametrize("uri", ["", "sqlite:///x.db", "http://[", "http://mlflow.example"])
def test_a_program_sets_no_proxy_aside_for_another_machine(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    prepare_program()
    assert os.environ["no_proxy"] == ""


def test_a_registry_that_only_a_proxy_reaches_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    with pages({"http://mlflow.invalid:5000/health": (200, "text/html", "OK")}) as port:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.invalid:5000")
        assert reach() == "http://mlflow.invalid:5000"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_down_is_named_without_its_password(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{scheme}_proxy", "http://me:secret@127.0.0.1:9")
    told = refused(f"{scheme}://mlflow.invalid", monkeypatch)
    assert f"{scheme}://mlflow.invalid cannot be reached through the proxy http://127.0.0.1:9 (Conn" in told


@pytest.mark.parametrize(
    "answers",
    [
        {"/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default": (200, "application/json", '{"experiment"')},
        {
            "/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default": (
                *(404, "application/json", '{"error_code": "RESOURCE_DOES_NOT_EXIST"}'),
            )
        },
        {"/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default": (401, "text/html", "who are you?")},
    ],
)
def test_a_registry_without_a_health_page_is_known_by_its_interface(
    answers: dict[str, tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pages(answers) as port:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        assert reach().endswith(str(port))


def test_a_page_that_is_not_mlflows_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pages({"/health": (200, "text/html", "<h1>Welcome</h1>")}) as port:
        told = refused(f"http://me:secret@127.0.0.1:{port}", monkeypatch)
    assert f"what answers at http://127.0.0.1:{port} is no MLflow server (HTTP 404" in told


def test_a_port_that_speaks_no_http_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with bytes_server(b"\x00\x00\x18\x04\x00\x00\x00\x00\x00") as port:  # gRPC's first frame
        assert "speaks no HTTP" in refused(f"http://127.0.0.1:{port}", monkeypatch)
        assert "speaks no TLS" in refused(f"https://127.0.0.1:{port}", monkeypatch)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"])
def test_a_server_behind_a_gateway_is_waited_for(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with bytes_server(answer) as port:
        told = refused(f"http://127.0.0.1:{port}", monkeypatch)
    assert f"no MLflow server answers at http://127.0.0.1:{port} after 0 s" in told
    assert ("if it speaks TLS, give https://" in told) is (answer == b"")


def test_a_host_without_an_address_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "START_TIMEOUT_S", 1e9)
    assert "the host of http://mlflow.invalid:5000 is not known" in refused("http://mlflow.invalid:5000", monkeypatch)


def test_a_server_that_starts_is_waited_for_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(probe, "START_TIMEOUT_S", 60.0)
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    with contextlib.ExitStack() as stack:
        start = threading.Timer(
            0.3, lambda: stack.enter_context(pages({"/health": (200, "text/html", "OK")}, port=port))
        )
        start.start()
        reach()
        start.join()
    waiting = f"waiting for MLflow at http://127.0.0.1:{port}, 0 s of at most 60 (Connection refused)\n"
    assert waiting in capsys.readouterr().err


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("postgresql://me:secret@127.0.0.1:1/x", "the Python module psycopg is missing; pip install 'psycopg[binary]'"),
        ("postgresql+psycopg2://me:secret@127.0.0.1:1/x", "the database postgresql+psycopg2://127.0.0.1:1/x does not"),
        ("mysql+pymysql://me@127.0.0.1:1/x", "the Python module pymysql is missing; pip install 'pymysql'"),
        ("sqlite:/x.db", "expected a database URI such as sqlite:///mlflow.db, got 'sqlite:/x.db'"),
        ("postgresql+nothing://h/x", "expected a database URI such as sqlite:///mlflow.db"),
        ("sqlite:///no-such-folder/x.db", "expected a database in a folder that exists"),
        ("sqlite:////proc/x.db", "sqlite:////proc/x.db cannot be made"),
    ],
)
def test_a_database_that_cannot_be_had_is_told_at_once(uri: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = refused(uri, monkeypatch)
    assert message in told
    assert "secret" not in told
