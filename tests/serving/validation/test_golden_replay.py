"""A version answers the golden observations as the trainer's own network did, or is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.golden import GoldenMismatch, check_golden, check_golden_once
from polserve.protos.shared.names import CHAMPION, GOLDEN_FILE
from polserve.serving.errors import RolloutRefused
from polserve.serving.policy import Policy
from polserve.serving.validation.golden_replay import replay_golden
from polserve.serving.validation.pace import TimedRuns
from polserve.serving.versions import VersionRef
from polserve.training.versions.version import PolicyVersion
from tests.support.local_workers import LoaderOnly, validate_here
from tests.support.versions import make_version, with_spec

Change: TypeAlias = Callable[[NDArray[Any]], NDArray[Any]]


def ref(version: PolicyVersion, folder: Path, number: str = "1", sha256: str | None = None) -> VersionRef:
    return VersionRef("cartpole", number, version.write(folder / number), sha256 or version.sha256)


def changed_spec(**changes: object) -> pb.PolicySpec:
    spec = pb.PolicySpec()
    spec.CopyFrom(make_version().spec)
    spec.MergeFrom(pb.PolicySpec(**changes))  # type: ignore[arg-type]
    return spec


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("action", lambda array: 1 - array, "action at batches of 1: 44 of 44 differ from the trainer's"),
        ("values", lambda array: array + 0.01, "values at batches of 1: differ by 0.01"),
        ("values", lambda array: array * np.nan, "values at batches of 1: differ by nan"),
        ("observation", lambda array: array[:5], "expected at least 64 golden observations"),
        ("observation", lambda array: array[:, :3], "the golden observations cannot be answered"),
    ],
)
def test_a_golden_replay_that_differs_is_refused(tmp_path: Path, name: str, change: Change, message: str) -> None:
    version = make_version()
    golden = {**version.golden, name: change(version.golden[name])}
    with pytest.raises(RolloutRefused, match=message):
        validate_here(ref(PolicyVersion(version.model, version.spec, golden), tmp_path))


def test_another_action_is_accepted_where_the_two_best_values_are_as_good_as_equal() -> None:
    version = make_version()
    policy = Policy.of_model("cartpole", "1", version.model.SerializeToString())
    observation = version.golden["observation"][:1]
    tied = tie(policy, observation)
    golden = {"observation": np.repeat(tied, 64, axis=0)}
    answer = policy.act(golden["observation"], with_values=True)
    assert answer.values is not None
    golden |= {"values": answer.values, "action": 1 - answer.actions}
    replay_golden(TimedRuns(policy), golden)


def tie(policy: Policy, observation: np.ndarray) -> np.ndarray:
    """An observation near `observation` at which both actions are nearly equally good, by bisection."""
    other = next(
        candidate
        for candidate in np.random.default_rng(1).normal(size=(100, 1, 4)).astype(np.float32)
        if policy.act(candidate).actions[0] != policy.act(observation).actions[0]
    )
    low, high = observation, other
    for _ in range(60):
        middle = (low + high) / 2
        same = policy.act(middle).actions[0] == policy.act(low).actions[0]
        low, high = (middle, high) if same else (low, middle)
    return low


def test_a_graph_that_answers_otherwise_only_one_at_a_time_is_found_out() -> None:
    version = make_version()
    policy = Policy.of_model("cartpole", "1", version.model.SerializeToString())

    def answer(observations: NDArray[Any]) -> dict[str, NDArray[Any]]:
        given = policy.act(observations, with_values=True)
        assert given.values is not None
        actions = 1 - given.actions if len(observations) == 1 else given.actions
        return {"action": actions, "values": given.values}

    with pytest.raises(GoldenMismatch, match="action at batches of 1"):
        check_golden(answer, version.golden)


def test_a_service_replays_every_observation_once_some_alone_and_some_together() -> None:
    golden = make_version().golden
    golden = golden | {"observation": np.tile(np.arange(80, dtype=np.float32)[:, None], 4)}
    batches: list[list[float]] = []

    def answer(observations: NDArray[Any]) -> dict[str, NDArray[Any]]:
        batches.append(observations[:, 0].tolist())
        rows = observations[:, 0].astype(int)
        return {"action": golden["action"][rows], "values": golden["values"][rows]}

    assert check_golden_once(answer, golden) == 0
    assert sorted(number for batch in batches for number in batch) == list(range(80))
    assert sorted(map(len, batches)) == [1] * 44 + [2, 17, 17]


@pytest.mark.parametrize("wrong", range(0, 80, 3))
def test_a_version_that_answers_any_observation_otherwise_is_refused(wrong: int) -> None:
    version = make_version()
    policy = Policy.of_model("cartpole", "1", version.model.SerializeToString())
    golden = version.golden | {"values": version.golden["values"].copy()}
    golden["values"][wrong] += 0.01
    with pytest.raises(RolloutRefused, match=r"golden replay: values at batches of \d+: differ by"):
        replay_golden(TimedRuns(policy), golden)


def test_a_golden_set_with_any_bit_flipped_is_accepted_or_refused_and_nothing_else(tmp_path: Path) -> None:
    reference = ref(make_version(), tmp_path)
    path = reference.folder / GOLDEN_FILE
    content = path.read_bytes()
    rollout = LoaderOnly().rollout()
    rng = np.random.default_rng(0)
    for position in rng.integers(len(content), size=150):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        for result in rollout.apply({"cartpole": {CHAMPION: replace(reference, stamp=str(position))}}):
            assert "unexpected" not in str(result.refusal)


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 half a zip"])
def test_a_missing_or_damaged_golden_set_is_refused(tmp_path: Path, content: bytes | None) -> None:
    reference = ref(make_version(), tmp_path)
    (reference.folder / GOLDEN_FILE).unlink()
    if content is not None:
        (reference.folder / GOLDEN_FILE).write_bytes(content)
    with pytest.raises(RolloutRefused, match=r"golden\.npz cannot be read"):
        validate_here(reference)


def test_a_pickled_golden_set_is_refused_and_not_run(tmp_path: Path) -> None:
    reference = ref(make_version(), tmp_path)
    np.savez(reference.folder / GOLDEN_FILE, observation=np.array([{}], object), action=np.zeros(1))
    with pytest.raises(RolloutRefused, match="allow_pickle=False"):
        validate_here(reference)


def test_actions_outside_the_action_space_of_the_spec_are_refused(tmp_path: Path) -> None:
    version = make_version()
    spec = changed_spec()
    spec.action.discrete.n = 1
    with pytest.raises(RolloutRefused, match=r"actions: expected int64 from 0 to 0, got 1 at observation \d+$"):
        validate_here(ref(with_spec(version, spec), tmp_path))
