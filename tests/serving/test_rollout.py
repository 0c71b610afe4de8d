"""What is desired goes live where it is accepted; what is refused changes nothing."""

import threading
from pathlib import Path

import pytest

from polserve.protos.shared.names import CHAMPION, MODEL_FILE
from polserve.serving.errors import NotReady, UnknownPolicy, UnknownVersion
from polserve.serving.rollout import Rollout
from polserve.serving.versions import AcceptedVersion, VersionRef
from polserve.training.versions.version import PolicyVersion
from tests.support.local_workers import LoaderOnly, validate_here
from tests.support.versions import make_frames_version, make_version


def ref(version: PolicyVersion, folder: Path, number: str = "1", sha256: str | None = None) -> VersionRef:
    return VersionRef("cartpole", number, version.write(folder / number), sha256 or version.sha256)


def test_a_refused_version_leaves_the_live_one_and_is_not_tried_again(tmp_path: Path) -> None:
    workers = LoaderOnly()
    catalog, rollout = workers.catalog, workers.rollout()
    good, bad = ref(make_version(0), tmp_path, "1"), ref(make_version(1), tmp_path, "2", sha256="wrong")

    assert [result.refusal for result in rollout.apply({"cartpole": {CHAMPION: good}})] == [None]
    results = rollout.apply({"cartpole": {CHAMPION: bad}})

    assert [(result.version, "sha256" in str(result.refusal)) for result in results] == [("2", True)]
    assert rollout.apply({"cartpole": {CHAMPION: bad}}) == []
    rollout.apply({"cartpole": {CHAMPION: good}})
    assert len(rollout.apply({"cartpole": {CHAMPION: bad}})) == 1, "the alias moved away and came back"
    assert catalog.resolve("cartpole", "", None).version == "1"


def test_an_alias_that_moves_switches_the_answering_version(tmp_path: Path) -> None:
    workers = LoaderOnly()
    catalog, rollout = workers.catalog, workers.rollout()
    first, second = ref(make_version(0), tmp_path, "1"), ref(make_version(1), tmp_path, "2")
    rollout.apply({"cartpole": {CHAMPION: first}})
    before = catalog.resolve("cartpole", "@champion", None)

    rollout.apply({"cartpole": {CHAMPION: second, "challenger": first}})

    assert catalog.resolve("cartpole", "", None).version == "2"
    assert catalog.resolve("cartpole", "@challenger", None) is before, "a live version is not loaded again"
    rollout.apply({"cartpole": {CHAMPION: second}})
    with pytest.raises(UnknownVersion, match=r"live are the versions 2 and the aliases @champion"):
        catalog.resolve("cartpole", "1", None)


@pytest.mark.parametrize("is_list_fixed", [False, True])
def test_a_policy_whose_last_alias_goes_is_taken_out_of_service_unless_the_list_is_fixed(
    tmp_path: Path,
    is_list_fixed: bool,  # noqa: FBT001 - a case
) -> None:
    workers = LoaderOnly()
    rollout = workers.rollout(is_list_fixed=is_list_fixed)
    rollout.apply({"cartpole": {CHAMPION: ref(make_version(), tmp_path)}})
    rollout.apply({"cartpole": {}})
    assert bool(workers.catalog.live()) is is_list_fixed


def test_a_policy_that_is_no_longer_desired_goes_unless_the_list_is_fixed(tmp_path: Path) -> None:
    desired = {"cartpole": {CHAMPION: ref(make_version(), tmp_path)}}
    for is_list_fixed in (False, True):
        workers = LoaderOnly()
        catalog, rollout = workers.catalog, workers.rollout(is_list_fixed=is_list_fixed)
        rollout.apply(desired)
        rollout.apply({})
        assert bool(catalog.live()) is is_list_fixed


def test_without_a_champion_the_first_alias_served_answers(tmp_path: Path) -> None:
    workers = LoaderOnly("canary", "challenger")
    catalog = workers.catalog
    with pytest.raises(NotReady, match="starting"):
        catalog.resolve("go", "", None)
    one, two = ref(make_version(0), tmp_path, "1"), ref(make_version(1), tmp_path, "2")
    workers.rollout().apply({"cartpole": {"challenger": one, "canary": two}})
    assert catalog.resolve("cartpole", "", None).version == "2"
    with pytest.raises(UnknownPolicy, match="no policy 'go' is live; live are cartpole"):
        catalog.resolve("go", "", None)


def test_a_version_that_the_workers_cannot_load_is_refused_though_it_was_accepted(tmp_path: Path) -> None:
    workers = LoaderOnly()
    good = ref(make_version(), tmp_path)

    def accept_and_change(version: VersionRef, live: VersionRef | None) -> AcceptedVersion:
        accepted = validate_here(version, live)
        (version.folder / MODEL_FILE).write_bytes(b"changed after it was validated")
        return accepted

    rollout = Rollout(accept_and_change, workers, is_list_fixed=False)
    (result,) = rollout.apply({"cartpole": {CHAMPION: good}})
    assert result.refusal is not None
    assert "sha256 of model.onnx: expected" in result.refusal
    assert rollout.live == {}


def test_what_is_live_names_the_run_that_made_it(tmp_path: Path) -> None:
    rollout = LoaderOnly().rollout()
    rollout.apply({"cartpole": {CHAMPION: ref(make_version(3), tmp_path)}})
    assert rollout.live["cartpole"][CHAMPION].run_id == "run-3"
    assert rollout.aliases == {"cartpole": {CHAMPION: "1"}}


def test_at_the_start_a_version_is_validated_while_the_one_before_is_loaded(tmp_path: Path) -> None:
    is_validating = threading.Event()

    def validate(candidate: VersionRef, live: VersionRef | None) -> AcceptedVersion:
        if candidate.policy == "second":
            is_validating.set()
        return validate_here(candidate, live)

    class Waiting(LoaderOnly):
        def prepare(self, version: AcceptedVersion) -> None:
            assert is_validating.wait(10.0), "the second policy is not validated before the first is loaded"
            super().prepare(version)

    folder = make_version().write(tmp_path / "1")
    first, second = (VersionRef(name, "1", folder, make_version().sha256) for name in ("first", "second"))
    rollout = Rollout(validate, Waiting(), is_list_fixed=False)
    results = rollout.apply({"first": {CHAMPION: first}, "second": {CHAMPION: second}})
    assert [(result.policy, result.refusal) for result in results] == [("first", None), ("second", None)]


def test_at_the_start_the_largest_policies_come_first_since_nothing_is_validated_while_the_last_is_loaded(
    tmp_path: Path,
) -> None:
    small, large = make_version(), make_frames_version()
    desired = {
        "absent": {CHAMPION: VersionRef("absent", "1", tmp_path / "nowhere", "", problem="it is gone")},
        "none": {},
        "small": {CHAMPION: VersionRef("small", "1", small.write(tmp_path / "small"), small.sha256)},
        "large": {CHAMPION: VersionRef("large", "1", large.write(tmp_path / "large"), large.sha256)},
    }
    sizes = {name: (tmp_path / name / MODEL_FILE).stat().st_size for name in ("small", "large")}
    assert sizes["small"] != sizes["large"]
    tried = [result.policy for result in LoaderOnly().rollout().apply(desired)]
    assert tried == [*sorted(sizes, key=lambda name: -sizes[name]), "absent"]


def test_what_an_alias_names_and_was_refused_is_told_beside_what_is_live(tmp_path: Path) -> None:
    rollout = LoaderOnly().rollout()
    good, bad = ref(make_version(0), tmp_path, "1"), ref(make_frames_version(), tmp_path, "2")
    rollout.apply({"cartpole": {CHAMPION: good}})
    assert rollout.refused() == []
    rollout.apply({"cartpole": {CHAMPION: bad}})
    (told,) = rollout.refused()
    assert "observation space: expected float32 (4,)" in str(told.pop("reason"))
    assert told == {"policy": "cartpole", "alias": "champion", "version": "2", "live": "1"}
    rollout.apply({"cartpole": {CHAMPION: good}})
    assert rollout.refused() == []


def test_where_nothing_answers_instead_of_what_was_refused_that_is_told(tmp_path: Path) -> None:
    rollout = LoaderOnly().rollout()
    rollout.apply({"cartpole": {CHAMPION: ref(make_version(0), tmp_path, "1", sha256="wrong")}})
    assert [told["live"] for told in rollout.refused()] == [None]
