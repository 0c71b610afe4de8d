"""The only worker, in the process of the service."""

import time
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from polserve.serving.http.pages import page_routes
from polserve.serving.http.server import HttpServer
from polserve.serving.settings.settings import load_settings
from polserve.serving.workers.in_process import InProcessWorker
from tests.support.running import page, wait_until


@pytest.fixture
def worker() -> Iterator[InProcessWorker]:
    """A worker that answers on a free port, and is soon said to be stuck."""
    worker = InProcessWorker(load_settings({"grpc_port": 0, "max_silence": 2}), CollectorRegistry())
    worker.start(lambda _reason: None, lambda: False)
    yield worker
    worker.drain(0)


def test_a_loop_that_hangs_is_told_by_livez_and_readyz_until_it_goes_on(worker: InProcessWorker) -> None:
    server = HttpServer("127.0.0.1", 0)
    server.start(page_routes(bytes, lambda: {"ready": worker.problem() is None}, is_stuck=worker.is_stuck))
    url = f"http://127.0.0.1:{server.port}"
    try:
        assert [page(f"{url}/{name}")[0] for name in ("livez", "readyz")] == [200, 200]
        worker._worker._loop.call_soon_threadsafe(time.sleep, 3)  # noqa: SLF001 - as a graph without an end does
        wait_until(lambda: page(f"{url}/livez")[0] == 503)
        assert "the loop that answers calls has not moved for 2 s" in str(worker.problem())
        assert page(f"{url}/readyz")[0] == 503
        wait_until(lambda: [page(f"{url}/{name}")[0] for name in ("livez", "readyz")] == [200, 200])
    finally:
        server.stop()
