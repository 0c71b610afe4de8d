"""What a version must be before it may answer, beside the policy that was trained; and what trying it may cost."""

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.names import CHAMPION, MODEL_FILE
from polserve.serving.client import PolicyClient
from polserve.serving.errors import RolloutRefused
from polserve.serving.policy import Policy
from polserve.serving.settings.settings import load_settings
from polserve.serving.validation.acceptance import AcceptanceLimits, check_beside_live, validate
from polserve.serving.validation.validator import Validator
from polserve.serving.versions import Pace, VersionRef
from polserve.training.versions.version import PolicyVersion
from tests.support.crashing import crashing_model
from tests.support.local_workers import LoaderOnly, validate_here
from tests.support.running import service, wait_until
from tests.support.versions import make_allocator_version, make_frames_version, make_version, with_spec


def ref(version: PolicyVersion, folder: Path, number: str = "1") -> VersionRef:
    return VersionRef("cartpole", number, version.write(folder / number), version.sha256)


def changed(change: Callable[[onnx.ModelProto], object]) -> PolicyVersion:
    """A version whose graph was changed, and registered so."""
    model = onnx.ModelProto()
    model.CopyFrom(make_version().model)
    change(model)
    return PolicyVersion(model, make_version().spec, make_version().golden)


def make_nan(model: onnx.ModelProto) -> None:
    weights = model.graph.initializer[0]
    array = numpy_helper.to_array(weights)
    weights.CopyFrom(numpy_helper.from_array(np.full_like(array, np.nan), weights.name))


def make_external(model: onnx.ModelProto) -> None:
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "weights.bin", offset=0, length=4)
    model.graph.initializer[0].ClearField("raw_data")
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL


def make_newer(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 99


def make_unknown(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "Levitate"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (make_nan, "golden replay: .* differ"),
        (make_external, "cannot be loaded as one self-contained ONNX graph"),
        (make_newer, "cannot be loaded .* opset"),
        (make_unknown, "cannot be loaded .* Levitate"),
    ],
)
def test_a_graph_that_cannot_do_what_was_trained_is_refused(
    tmp_path: Path, change: Callable[[onnx.ModelProto], object], message: str
) -> None:
    with pytest.raises(RolloutRefused, match=message):
        validate_here(ref(changed(change), tmp_path))


def spec_with(change: Callable[[pb.PolicySpec], object]) -> Policy:
    """A loaded version whose spec was changed."""
    spec = pb.PolicySpec()
    spec.CopyFrom(make_version().spec)
    change(spec)
    return Policy.of_model("cartpole", "2", with_spec(make_version(), spec).model.SerializeToString())


def swap_labels(spec: pb.PolicySpec) -> None:
    labels = list(spec.action.discrete.labels)
    spec.action.discrete.labels[:] = labels[::-1]


def swap_components(spec: pb.PolicySpec) -> None:
    components = list(spec.observation.components)
    del spec.observation.components[:]
    spec.observation.components.extend(components[::-1])


def bound_hard(spec: pb.PolicySpec) -> None:
    spec.observation.is_bounded = True


def add_action(spec: pb.PolicySpec) -> None:
    spec.action.discrete.n = 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (swap_labels, "action components: expected push left, push right, as the live version 1 has, got push right"),
        (swap_components, "observation components: expected cart position m, .*, got pole angular velocity"),
        (bound_hard, r"observation space: expected float32 \(4,\), as the live version 1 has, got .* from"),
        (add_action, r"action space: expected discrete \(2\), as the live version 1 has, got discrete \(3\)"),
    ],
)
def test_a_version_with_other_spaces_than_the_live_one_is_refused_unless_that_is_allowed(
    change: Callable[[pb.PolicySpec], object], message: str
) -> None:
    live, candidate = Policy.of_model("cartpole", "1", make_version().model.SerializeToString()), spec_with(change)
    with pytest.raises(RolloutRefused, match=message):
        check_beside_live(candidate, live, AcceptanceLimits())
    check_beside_live(candidate, live, AcceptanceLimits(allow_space_change=True))


def test_names_that_only_one_of_two_specs_has_are_no_difference() -> None:
    live = Policy.of_model("cartpole", "1", make_version().model.SerializeToString())
    check_beside_live(spec_with(lambda spec: spec.action.discrete.ClearField("labels")), live, AcceptanceLimits())


def allocator(version: str, *, growth: float = 1.0, horizon_days: int = 30) -> Policy:
    """A loaded allocator that learned with so many times the money, for budgets of such a horizon."""
    made, spec = make_allocator_version(), pb.PolicySpec()
    spec.CopyFrom(made.spec)
    spec.action.continuous.high[:] = [growth * bound for bound in spec.action.continuous.high]
    spec.observation.high[:] = [growth * bound for bound in spec.observation.high]
    spec.allocation.max_horizon_days = horizon_days
    return Policy.of_model("shop", version, with_spec(made, spec).model.SerializeToString())


def test_an_allocator_that_learned_with_more_money_takes_the_place_of_another() -> None:
    check_beside_live(allocator("2", growth=1.1), allocator("1"), AcceptanceLimits())


def test_an_allocator_of_another_horizon_is_refused() -> None:
    told = r"allocation: expected USD to facebook, instagram within 30 days, .* within 28 days"
    with pytest.raises(RolloutRefused, match=told):
        check_beside_live(allocator("2", horizon_days=28), allocator("1"), AcceptanceLimits())


def test_a_policy_with_other_observations_never_takes_the_place_of_a_live_one(tmp_path: Path) -> None:
    workers = LoaderOnly()
    rollout = workers.rollout()
    rollout.apply({"cartpole": {CHAMPION: ref(make_version(), tmp_path)}})
    other = ref(make_frames_version(), tmp_path, "2")
    (result,) = rollout.apply({"cartpole": {CHAMPION: other}})
    assert "observation space: expected float32 (4,), as the live version 1 has, got uint8" in str(result.refusal)
    assert workers.catalog.resolve("cartpole", "", None).version == "1"


@pytest.mark.parametrize(("alone_s", "is_refused"), [(0.0009, False), (0.0011, True), (0.1, True)])
def test_a_version_much_slower_than_the_live_one_is_refused_where_that_can_be_felt(
    alone_s: float,
    is_refused: bool,  # noqa: FBT001 - a case
) -> None:
    model = make_version().model.SerializeToString()
    live = Policy.of_model("cartpole", "1", model, Pace(1e-5, 1e-6))
    candidate = Policy.of_model("cartpole", "2", model, Pace(alone_s, 1e-6))
    if is_refused:
        with pytest.raises(RolloutRefused, match=r"latency: .* the live version 1 takes 0.01 ms, allowed are 1 ms"):
            check_beside_live(candidate, live, AcceptanceLimits())
    else:
        check_beside_live(candidate, live, AcceptanceLimits())
    check_beside_live(candidate, live, AcceptanceLimits(max_slowdown=1e6))


def test_a_version_that_takes_longer_than_the_budget_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RolloutRefused, match=r"latency: one observation takes .* ms, allowed are 1e-06 ms"):
        validate(ref(make_version(), tmp_path), None, AcceptanceLimits(latency_budget_s=1e-9))


def test_files_that_a_source_cannot_provide_are_a_refusal_with_its_reason(tmp_path: Path) -> None:
    workers = LoaderOnly()
    rollout = workers.rollout()
    missing = replace(ref(make_version(), tmp_path), problem="the store is empty")
    assert [result.refusal for result in rollout.apply({"cartpole": {CHAMPION: missing}})] == ["the store is empty"]
    assert rollout.apply({"cartpole": {CHAMPION: missing}}) == [], "it is said once"
    assert [r.refusal for r in rollout.apply({"cartpole": {CHAMPION: replace(missing, problem=None)}})] == [None]


def test_a_version_that_crashes_what_loads_it_is_refused_and_ends_nothing_that_answers(tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    make_version().write(folder / "cartpole" / "1")
    with service("--policies", str(folder), "--poll-interval", "0.1", folder=tmp_path) as running:
        wait_until(running.is_up, running.log)
        make_version(1).write(folder / ".2")
        (folder / ".2" / MODEL_FILE).write_bytes(crashing_model())
        (folder / ".2").rename(folder / "cartpole" / "2")
        wait_until(lambda: "event=rollout_refused" in running.log.read_text(), running.log)
        assert "2 processes ended while they validated the version: validator process" in running.log.read_text()
        assert "by signal 8" in running.log.read_text()
        with PolicyClient(running.target) as client:
            assert client.act("cartpole", np.zeros(4, np.float32)).version == "1"
        make_version(1).write(folder / ".3").rename(folder / "cartpole" / "3")
        wait_until(lambda: running.ready()["policies"]["cartpole"]["champion"] == "3", running.log)


def test_a_live_version_whose_files_are_gone_keeps_no_candidate_out(tmp_path: Path) -> None:
    live = ref(make_version(), tmp_path)
    candidate = ref(make_version(1), tmp_path, "2")
    (live.folder / MODEL_FILE).unlink()
    assert validate_here(candidate, live).ref.version == "2"


@pytest.mark.starts_processes
def test_what_was_begun_is_validated_once_and_beside_no_live_version(tmp_path: Path) -> None:
    first, second = ref(make_version(), tmp_path), ref(make_version(1), tmp_path, "2")
    bad = replace(first, version="3", sha256="0" * 64)
    validator = Validator(load_settings({}))
    try:
        validator.begin([first, bad, second])
        assert validator.validate(second, None).ref == second
        (first.folder / MODEL_FILE).unlink()
        with pytest.raises(RolloutRefused, match=r"model\.onnx cannot be read"):
            validator.validate(first, second)
        assert validator.validate(first, None).ref == first, "it was there when its validation was begun"
        with pytest.raises(RolloutRefused, match=r"model\.onnx cannot be read"):
            validator.validate(first, None)
        with pytest.raises(RolloutRefused, match=r"sha256 of model\.onnx: expected 0000"):
            validator.validate(bad, None)
    finally:
        validator.close()


@pytest.mark.starts_processes
def test_closing_does_not_wait_for_a_process_that_is_starting() -> None:
    validator = Validator(load_settings({}))
    validator.warm_up()
    wait_until(lambda: validator._child is not None)  # noqa: SLF001
    child = validator._child  # noqa: SLF001
    assert child is not None
    os.kill(child.pid, signal.SIGSTOP)  # it takes for ever to start
    closing = threading.Thread(target=validator.close)
    closing.start()
    closing.join(10)
    assert not closing.is_alive()
    assert not child.is_alive
