"""`polserve play` of a version whose spec names no environment, as of an import without one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.training.errors import UnknownEnvironment
from polserve.training.evaluate import evaluate
from tests.support.commands import polserve_here
from tests.support.running import Running, service, wait_until
from tests.support.versions import make_version, with_spec


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a version for CartPole whose spec does not say so."""
    spec = pb.PolicySpec()
    spec.CopyFrom(make_version().spec)
    spec.ClearField("environment")
    folder = tmp_path_factory.mktemp("served")
    with_spec(make_version(), spec).write(folder / "policies" / "cartpole" / "1")
    return folder


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Running]:
    with service("--policies", str(folder / "policies"), "--cache-dir", str(folder / "cache"), folder=folder) as served:
        wait_until(served.is_up, served.log)
        yield served


def play(running: Running, *options: str) -> tuple[int, str]:
    played = polserve_here("play", "cartpole", "--episodes", "1", "--target", running.target, *options)
    return played.returncode, played.stdout + played.stderr


def test_without_an_environment_it_says_to_give_one(running: Running) -> None:
    code, said = play(running)
    assert code == 1
    assert "no environment is named: a version that was imported without --env names none; give one with --env" in said


def test_it_plays_the_environment_that_is_given(running: Running) -> None:
    code, said = play(running, "--env", "CartPole-v1")
    assert code == 0, said
    assert said.startswith("episode 1: return ")


def test_an_environment_with_other_observations_is_refused(running: Running) -> None:
    code, said = play(running, "--env", "Acrobot-v1")
    assert code == 1
    assert "cartpole cannot play Acrobot-v1: expected float32 (4,)" in said


def test_evaluation_says_the_same(folder: Path) -> None:
    with pytest.raises(UnknownEnvironment, match=r"no environment is named: .* give one with --env"):
        evaluate(folder / "policies" / "cartpole" / "1", episodes=2)
