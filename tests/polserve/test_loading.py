"""A version in this process answers as the service does, and what is none is refused."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import polserve
from polserve import ClientError, InvalidArgument
from polserve.protos.shared.golden import Arrays, check_golden
from polserve.protos.shared.names import GOLDEN_FILE
from polserve.serving.settings.settings import BUNDLED_POLICIES

CARTPOLE = BUNDLED_POLICIES / "cartpole" / "1"
GOLDEN = dict(np.load(CARTPOLE / GOLDEN_FILE))


@pytest.fixture(scope="module")
def cartpole() -> polserve.LoadedPolicy:
    return polserve.load("cartpole")


@pytest.mark.parametrize(
    "named",
    [
        CARTPOLE,
        str(CARTPOLE),
        CARTPOLE / "model.onnx",
        CARTPOLE.parent,
        "cartpole",
        "cartpole/1",
        "cartpole@champion",
    ],
    ids=str,
)
def test_a_version_is_named_by_its_folder_its_file_or_as_a_bundled_policy(named: str | Path) -> None:
    policy = polserve.load(named)
    assert (policy.name, policy.version) == ("cartpole", "1")


def test_it_answers_as_the_trainers_network_did(cartpole: polserve.LoadedPolicy) -> None:
    def answer(observations: NDArray[Any]) -> Arrays:
        given = cartpole.act_batch(observations, with_values=True)
        assert given.values is not None
        return {"action": given.action, "values": given.values}

    assert check_golden(answer, GOLDEN) < 0.1
    one = cartpole.act(GOLDEN["observation"][0].tolist())
    assert (one.action.shape, one.values) == ((), None)
    assert (one.policy, one.version, one.explored) == ("cartpole", "1", None)


def test_continuous_actions_keep_their_components() -> None:
    policy = polserve.load("adbudget")
    observation = np.zeros(policy.observation.shape, policy.observation.dtype)
    assert policy.act(observation).action.shape == (len(policy.action.low),)
    assert policy.act([observation, observation]).action.shape == (2, len(policy.action.low))


def test_it_says_what_it_takes_answers_and_earned(cartpole: polserve.LoadedPolicy) -> None:
    assert (cartpole.observation.dtype, cartpole.observation.shape, cartpole.action.n) == ("float32", (4,), 2)
    assert cartpole.evaluation is not None
    assert cartpole.evaluation.mean > cartpole.evaluation.random_mean
    assert repr(cartpole).startswith("<policy cartpole/1: float32 (4,) -> 2 actions (push left, push right), return ")


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        ([0, 0], "INVALID_ARGUMENT: observation.shape: expected (4,) or (N, 4), got (2,)"),
        ([0, 0, np.nan, 0], "INVALID_ARGUMENT: observation: expected finite numbers, got nan at [2]"),
        ([2**24 + 1, 0, 0, 0], "INVALID_ARGUMENT: observation: expected numbers that float32 holds, got 16777217"),
        (["a"], "observation: expected real numbers of at most 64 bits, got <U1 (1,)"),
    ],
)
def test_an_observation_is_refused_in_the_words_of_the_service(
    cartpole: polserve.LoadedPolicy, observation: list[object], message: str
) -> None:
    with pytest.raises(ClientError, match=f"^{re.escape(message)}"):
        cartpole.act(observation)  # type: ignore[arg-type] # that is the point


@pytest.mark.parametrize("named", ["cartpole/9", "cartpole@next", "go", "", None, 7, Path("go"), "/go", Path("docs")])
def test_what_is_no_version_is_refused_with_the_bundled_ones_named(named: object) -> None:
    with pytest.raises(
        InvalidArgument, match=r"version: expected a folder with model.onnx, or a bundled policy \(adbudget, cartpole"
    ):
        polserve.load(named)  # type: ignore[arg-type] # that is the point


def test_a_damaged_version_is_refused_as_the_service_refuses_it(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(CARTPOLE, tmp_path / "cartpole" / "1"))
    np.savez(folder / GOLDEN_FILE, **GOLDEN | {"action": 1 - GOLDEN["action"]})
    with pytest.raises(InvalidArgument, match=r"version: expected a policy version that may answer, .*golden replay"):
        polserve.load(folder)
    (folder / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(InvalidArgument, match=r"model\.onnx cannot be loaded"):
        polserve.load(folder)
