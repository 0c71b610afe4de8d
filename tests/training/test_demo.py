"""The demo waits for its servers as long as they live, and tells why one does not."""

import os
import sys
from pathlib import Path

import pytest

from polserve.training import demo
from tests.support.running import free_port

LATE = (
    "import http.server, sys, time; time.sleep(1);"
    "http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()"
)


@pytest.mark.starts_processes
def test_a_server_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    code = "import sys; print('\\n'.join(f'line {i}' for i in range(100))); sys.exit('no such database')"
    with (
        demo.running([sys.executable, "-Sc", code], os.environ, tmp_path / "log") as server,
        pytest.raises(SystemExit) as end,
    ):
        server.wait_for_page("MLflow", f"http://127.0.0.1:{free_port()}/health")
    first, *lines = str(end.value).splitlines()
    assert first == f"MLflow ended with exit code 1; the last lines of {tmp_path / 'log'}:"
    assert "line 99" in lines
    assert "no such database" in lines
    assert len(lines) == demo.LAST_LINES


@pytest.mark.starts_processes
def test_a_server_that_is_slow_to_start_is_waited_for_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "WORD_INTERVAL_S", 0.5)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    port = str(free_port())
    with demo.running([sys.executable, "-c", LATE, port], os.environ, tmp_path / "log") as server:
        server.wait_for_page("MLflow", f"http://127.0.0.1:{port}/")
    assert "waiting for MLflow, 1 s" in capsys.readouterr().out
