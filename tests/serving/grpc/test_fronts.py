"""nghttp2 carries the calls where it works; where it does not, grpcio does, and the service says so."""

from pathlib import Path

import numpy as np
import pytest

from polserve.serving.client import PolicyClient
from polserve.serving.errors import ConfigurationError
from polserve.serving.grpc.fronts import choose_front
from polserve.serving.http2 import engine
from tests.support.running import environment, polserve, service, wait_until

NO_NGH2 = "import sys\nsys.modules['ngh2'] = None\n"


def test_nghttp2_is_taken_where_it_works() -> None:
    assert choose_front("auto") == choose_front("nghttp2") == "nghttp2"
    assert choose_front("grpcio") == "grpcio"


def test_without_ngh2_grpcio_carries_the_calls_and_the_log_and_metrics_say_so(policies: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NO_NGH2)
    env = environment()
    env["PYTHONPATH"] = f"{tmp_path}:{env.get('PYTHONPATH', '')}"
    with (
        service("--policies", str(policies), folder=tmp_path, env=env) as running,
        PolicyClient(running.target) as client,
    ):
        wait_until(running.is_up, running.log)
        assert client.act("cartpole", np.zeros(4)).version == "1"
        assert "event=front_unusable front=nghttp2" in running.log.read_text()
        assert 'polserve_build_info{front="grpcio"' in running.metrics()


def test_a_front_that_was_asked_for_and_does_not_work_is_named(tmp_path: Path, policies: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NO_NGH2)
    path = f"{tmp_path}:{environment().get('PYTHONPATH', '')}"
    result = polserve("serve", "--front", "nghttp2", "--policies", str(policies), PYTHONPATH=path)
    assert result.returncode == 2
    assert "front: expected one that works on this machine, got nghttp2 (" in result.stderr
    assert "install ngh2, or choose --front grpcio" in result.stderr


class Deaf(engine.Connection):
    """Loses what it receives."""

    def events(self) -> list[object]:  # type: ignore[override]
        super().events()
        return []


class Changing(engine.Connection):
    """Changes what it sends."""

    def send_data(self, stream_id: int, data: bytes | bytearray | memoryview, *, end_stream: bool = False) -> None:
        super().send_data(stream_id, bytes(len(data)), end_stream=end_stream)


class Forgetful(engine.Connection):
    """Sends no trailers."""

    def send_trailers(self, stream_id: int, headers: object) -> None:  # noqa: ARG002 - as the base class has it
        self.end_stream(stream_id)


class Lax(engine.Connection):
    """Takes anything."""

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        try:
            super().receive_data(data)
        except engine.NGH2Error:
            return


@pytest.mark.parametrize("broken", [Deaf, Changing, Forgetful, Lax])
def test_an_engine_that_does_anything_wrong_is_not_used(
    monkeypatch: pytest.MonkeyPatch, broken: type[engine.Connection]
) -> None:
    monkeypatch.setattr(engine, "Connection", broken)
    with pytest.raises(engine.SelfTestFailed):
        engine.self_test()
    assert choose_front("auto") == "grpcio"
    with pytest.raises(ConfigurationError, match="front: expected one that works"):
        choose_front("nghttp2")
