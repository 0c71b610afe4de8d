import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.golden import GoldenMismatch, check_golden
from polserve.protos.shared.names import CHAMPION, GOLDEN_FILE, MODEL_FILE
from polserve.serving.errors import NotReady, RolloutRefused, UnknownPolicy, UnknownVersion
from polserve.serving.policy import Policy
from polserve.serving.rollout import Rollout
from polserve.serving.sources.folder import FolderSource
from polserve.serving.sources.source import VersionRef
from polserve.serving.validation.verification import replay_golden, verify
from polserve.training.versions.version import PolicyVersion
from tests.support.local_workers import ShelfCrew
from tests.support.versions import make_version, with_spec

Change: TypeAlias = Callable[[NDArray[Any]], NDArray[Any]]


def ref(version: PolicyVersion, folder: Path, number: str = "1", sha256: str | None = None) -> VersionRef:
    return VersionRef("cartpole", number, version.write(folder / number), sha256 or version.sha256)


def changed_spec(**changes: object) -> pb.PolicySpec:
    spec = pb.PolicySpec()
    spec.CopyFrom(make_version().spec)
    spec.MergeFrom(pb.PolicySpec(**changes))  # type: ignore[arg-type]
    return spec


def test_a_good_version_is_loaded_with_its_spec(tmp_path: Path) -> None:
    version = make_version()
    policy = verify(ref(version, tmp_path))
    assert policy.spec == version.spec
    assert policy.sha256 == version.sha256
    answer = policy.act(version.golden["observation"], with_values=True)
    assert (answer.actions == version.golden["action"]).all()


def damage_model(folder: Path, content: bytes) -> None:
    (folder / MODEL_FILE).write_bytes(content)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x07"])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    reference = ref(make_version(), tmp_path)
    damage_model(reference.folder, content)
    with pytest.raises(RolloutRefused, match=r"model.onnx"):
        verify(reference)


def test_a_truncated_model_is_refused(tmp_path: Path) -> None:
    reference = ref(make_version(), tmp_path)
    model = (reference.folder / MODEL_FILE).read_bytes()
    damage_model(reference.folder, model[: len(model) // 2])
    with pytest.raises(RolloutRefused, match=r"model\.onnx cannot be loaded"):
        verify(reference)


def test_a_missing_model_is_refused(tmp_path: Path) -> None:
    reference = ref(make_version(), tmp_path)
    (reference.folder / MODEL_FILE).unlink()
    with pytest.raises(RolloutRefused, match="cannot be read: No such file"):
        verify(reference)


def test_a_model_with_another_checksum_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RolloutRefused, match=r"sha256 of model\.onnx: expected abc, got"):
        verify(ref(make_version(), tmp_path, sha256="abc"))


def test_a_version_that_was_registered_without_a_checksum_is_refused(tmp_path: Path) -> None:
    version = make_version()
    reference = VersionRef("cartpole", "1", version.write(tmp_path), "")
    with pytest.raises(RolloutRefused, match=r"expected a tag polserve\.sha256"):
        verify(reference)


def test_a_model_without_a_spec_is_refused(tmp_path: Path) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(make_version().model)
    del model.metadata_props[:]
    bare = PolicyVersion(model, pb.PolicySpec(), make_version().golden)
    with pytest.raises(RolloutRefused, match=r"has no metadata 'polserve\.spec'"):
        verify(ref(bare, tmp_path))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (changed_spec(schema_version=99), "has schema version 99, this server knows 1"),
        (changed_spec(observation=pb.ObservationSpec(shape=[7])), "expected 1 or 28"),
        (changed_spec(observation=pb.ObservationSpec(dtype=pb.UINT8)), "its spec says"),
        (changed_spec(observation=pb.ObservationSpec(low=[0.0])), "observation.low has 5 values"),
    ],
)
def test_a_spec_that_does_not_fit_is_refused(tmp_path: Path, spec: pb.PolicySpec, message: str) -> None:
    with pytest.raises(RolloutRefused, match=message):
        verify(ref(with_spec(make_version(), spec), tmp_path))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("action", lambda array: 1 - array, "action at batches of 1: .* of 80 differ from the trainer's"),
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
        verify(ref(PolicyVersion(version.model, version.spec, golden), tmp_path))


def test_another_action_is_accepted_where_the_two_best_values_are_as_good_as_equal() -> None:
    version = make_version()
    policy = Policy("cartpole", "1", version.model.SerializeToString())
    observation = version.golden["observation"][:1]
    tied = tie(policy, observation)
    golden = {"observation": np.repeat(tied, 64, axis=0)}
    answer = policy.act(golden["observation"], with_values=True)
    assert answer.values is not None
    golden |= {"values": answer.values, "action": 1 - answer.actions}
    replay_golden(policy, golden)


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
    policy = Policy("cartpole", "1", version.model.SerializeToString())

    def answer(observations: NDArray[Any]) -> dict[str, NDArray[Any]]:
        given = policy.act(observations, with_values=True)
        assert given.values is not None
        actions = 1 - given.actions if len(observations) == 1 else given.actions
        return {"action": actions, "values": given.values}

    with pytest.raises(GoldenMismatch, match="action at batches of 1"):
        check_golden(answer, version.golden)


def test_a_golden_set_with_any_bit_flipped_is_accepted_or_refused_and_nothing_else(tmp_path: Path) -> None:
    reference = ref(make_version(), tmp_path)
    path = reference.folder / GOLDEN_FILE
    content = path.read_bytes()
    crew = ShelfCrew()
    rollout = Rollout(crew, crew, is_list_fixed=False)
    rng = np.random.default_rng(0)
    for position in rng.integers(len(content), size=150):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        for verdict in rollout.apply({"cartpole": {CHAMPION: replace(reference, stamp=str(position))}}):
            assert "unexpected" not in verdict.reason


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 half a zip"])
def test_a_missing_or_damaged_golden_set_is_refused(tmp_path: Path, content: bytes | None) -> None:
    reference = ref(make_version(), tmp_path)
    (reference.folder / GOLDEN_FILE).unlink()
    if content is not None:
        (reference.folder / GOLDEN_FILE).write_bytes(content)
    with pytest.raises(RolloutRefused, match=r"golden\.npz cannot be read"):
        verify(reference)


def test_a_pickled_golden_set_is_refused_and_not_run(tmp_path: Path) -> None:
    reference = ref(make_version(), tmp_path)
    np.savez(reference.folder / GOLDEN_FILE, observation=np.array([{}], object), action=np.zeros(1))
    with pytest.raises(RolloutRefused, match="allow_pickle=False"):
        verify(reference)


def test_a_refused_version_leaves_the_live_one_and_is_not_tried_again(tmp_path: Path) -> None:
    crew = ShelfCrew()
    catalog, rollout = crew.catalog, Rollout(crew, crew, is_list_fixed=False)
    good, bad = ref(make_version(0), tmp_path, "1"), ref(make_version(1), tmp_path, "2", sha256="wrong")

    assert [verdict.reason for verdict in rollout.apply({"cartpole": {CHAMPION: good}})] == [""]
    verdicts = rollout.apply({"cartpole": {CHAMPION: bad}})

    assert [(verdict.version, bool(verdict.reason)) for verdict in verdicts] == [("2", True)]
    assert rollout.apply({"cartpole": {CHAMPION: bad}}) == []
    rollout.apply({"cartpole": {CHAMPION: good}})
    assert len(rollout.apply({"cartpole": {CHAMPION: bad}})) == 1, "the alias moved away and came back"
    assert catalog.resolve("cartpole", "").version == "1"


def test_an_alias_that_moves_switches_the_answering_version(tmp_path: Path) -> None:
    crew = ShelfCrew()
    catalog, rollout = crew.catalog, Rollout(crew, crew, is_list_fixed=False)
    first, second = ref(make_version(0), tmp_path, "1"), ref(make_version(1), tmp_path, "2")
    rollout.apply({"cartpole": {CHAMPION: first}})
    before = catalog.resolve("cartpole", "@champion")

    rollout.apply({"cartpole": {CHAMPION: second, "challenger": first}})

    assert catalog.resolve("cartpole", "").version == "2"
    assert catalog.resolve("cartpole", "@challenger") is before, "a live version is not loaded again"
    rollout.apply({"cartpole": {CHAMPION: second}})
    with pytest.raises(UnknownVersion, match=r"live are the versions 2 and the aliases @champion"):
        catalog.resolve("cartpole", "1")


@pytest.mark.parametrize("is_list_fixed", [False, True])
def test_a_policy_whose_last_alias_goes_is_taken_out_of_service_unless_the_list_is_fixed(
    tmp_path: Path,
    is_list_fixed: bool,  # noqa: FBT001 - a case
) -> None:
    crew = ShelfCrew()
    rollout = Rollout(crew, crew, is_list_fixed=is_list_fixed)
    rollout.apply({"cartpole": {CHAMPION: ref(make_version(), tmp_path)}})
    rollout.apply({"cartpole": {}})
    assert bool(crew.catalog.live()) is is_list_fixed


def test_a_policy_that_is_no_longer_desired_goes_unless_the_list_is_fixed(tmp_path: Path) -> None:
    desired = {"cartpole": {CHAMPION: ref(make_version(), tmp_path)}}
    for is_list_fixed in (False, True):
        crew = ShelfCrew()
        catalog, rollout = crew.catalog, Rollout(crew, crew, is_list_fixed=is_list_fixed)
        rollout.apply(desired)
        rollout.apply({})
        assert bool(catalog.live()) is is_list_fixed


def test_without_a_champion_the_first_alias_served_answers(tmp_path: Path) -> None:
    crew = ShelfCrew("canary", "challenger")
    catalog = crew.catalog
    with pytest.raises(NotReady, match="starting"):
        catalog.resolve("go", "")
    one, two = ref(make_version(0), tmp_path, "1"), ref(make_version(1), tmp_path, "2")
    Rollout(crew, crew, is_list_fixed=False).apply({"cartpole": {"challenger": one, "canary": two}})
    assert catalog.resolve("cartpole", "").version == "2"
    with pytest.raises(UnknownPolicy, match="no policy 'go' is live; live are cartpole"):
        catalog.resolve("go", "")


def test_a_folder_serves_its_highest_version_and_sees_a_new_one(tmp_path: Path) -> None:
    for number in ("2", "10"):
        make_version().write(tmp_path / "cartpole" / number)
    (tmp_path / "cartpole" / "notes").mkdir()
    source = FolderSource(tmp_path, [], poll_interval_s=0.01)
    desired = source.follow()

    assert next(desired)["cartpole"][CHAMPION].version == "10"
    (tmp_path / "cartpole" / "10" / GOLDEN_FILE).touch()
    os.utime(tmp_path / "cartpole" / "10" / GOLDEN_FILE, (1, 1))
    assert next(desired)["cartpole"][CHAMPION].version == "10", "changed files are desired anew"
    shutil.copytree(tmp_path / "cartpole" / "10", tmp_path / "cartpole" / ".11")
    (tmp_path / "cartpole" / ".11").rename(tmp_path / "cartpole" / "11")
    shutil.copytree(tmp_path / "cartpole", tmp_path / ".copying")
    seen = next(desired)
    assert seen["cartpole"][CHAMPION].version == "11"
    assert seen.keys() == {"cartpole"}
    source.close()
    assert list(desired) == []


def test_actions_outside_the_action_space_of_the_spec_are_refused(tmp_path: Path) -> None:
    version = make_version()
    spec = changed_spec()
    spec.action.discrete.n = 1
    with pytest.raises(
        RolloutRefused, match=r"actions: expected int64 \(N,\) from 0 to 0, got int64 \(80,\) from 0 to 1"
    ):
        verify(ref(with_spec(version, spec), tmp_path))
