"""The completion loop is used only where it works; whoever answers, a caller cannot tell (see KINDS in conftest)."""

from pathlib import Path

import grpc
import pytest
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # private: no types

from polserve.serving.client import PolicyClient
from polserve.serving.grpc import completion, selftest
from tests.support.running import environment, service, wait_until
from tests.support.versions import make_version

OBSERVATION = make_version().golden["observation"][0]


def test_the_self_test_passes_with_the_pinned_grpcio() -> None:
    assert selftest.is_loop_usable()


def test_another_series_of_grpcio_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc, "__version__", "2.0.0")
    assert not selftest.is_loop_usable()


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("", None),
        ("reply", lambda call, _: call.fail(selftest.REFUSAL)),
        ("fail", lambda call, _: call.reply(b"")),
        ("is_wanted", lambda _: True),
        ("_close", lambda *_: None),
        ("_receive", lambda *_: 1 / 0),
    ],
)
def test_a_loop_that_does_anything_wrong_is_not_used(
    monkeypatch: pytest.MonkeyPatch, name: str, broken: object
) -> None:
    monkeypatch.setattr(selftest, "TIMEOUT_S", 0.3)
    if broken is None:  # the private interface is another than it was
        monkeypatch.delattr(cygrpc, "SendStatusFromServerOperation")
    else:
        monkeypatch.setattr(completion._LoopCall, name, broken)  # noqa: SLF001
    assert not selftest.is_loop_usable()


def test_without_the_loop_the_public_server_answers(policies: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import grpc\ngrpc.__version__ = '2.0.0'\n")

    env = environment(PYTHONPATH=str(tmp_path))
    with (
        service("--policies", str(policies), folder=tmp_path, env=env) as running,
        PolicyClient(running.target) as client,
    ):
        wait_until(running.is_up, running.log)
        assert "event=completion_loop_untested grpcio=2.0.0" in running.log.read_text()
        assert client.act("cartpole", OBSERVATION).version == "1"
        assert 'grpc_server_handled_total{grpc_code="OK",grpc_method="Act"' in running.metrics()
