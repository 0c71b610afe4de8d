"""How fast a version is decides whether it is batched, and is measured once for all workers."""

import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from polserve.serving.policy import Answer, Policy
from polserve.serving.settings.settings import load_settings
from polserve.serving.validation.golden_replay import check_golden_file
from polserve.serving.validation.pace import TimedRuns, measure_pace
from polserve.serving.validation.validator import Validator
from polserve.serving.versions import AcceptedVersion, Pace, VersionRef
from tests.support.local_workers import LoaderOnly
from tests.support.versions import make_version


def test_the_pace_decides_what_is_batched() -> None:
    small = Policy.of_model("cartpole", "1", make_version().model.SerializeToString())
    assert measure_pace(TimedRuns(small), "auto").is_batched is True, "one run is cheaper than two"
    assert measure_pace(TimedRuns(small), "on").is_batched is True
    assert measure_pace(TimedRuns(small), "off").is_batched is False
    pace = measure_pace(TimedRuns(small), "auto")
    assert 0 < pace.alone_s <= pace.seconds(100)


def test_time_in_which_others_have_the_processor_is_not_counted() -> None:
    @dataclass(frozen=True, eq=False)
    class HeldUp(Policy):
        def act(self, *arguments: Any, **options: Any) -> Answer:
            time.sleep(0.003)
            return super().act(*arguments, **options)

    small = Policy.of_model("cartpole", "1", make_version().model.SerializeToString())
    held_up = HeldUp(**{field.name: getattr(small, field.name) for field in fields(small)})
    assert measure_pace(TimedRuns(held_up)).alone_s < 0.003


def test_the_runs_of_the_golden_replay_tell_the_pace_of_a_slow_version(tmp_path: Path) -> None:
    sizes: list[int] = []

    @dataclass(frozen=True, eq=False)
    class Slow(Policy):
        def act(self, observations: Any, *arguments: Any, **options: Any) -> Answer:
            sizes.append(len(observations))
            until = time.thread_time() + 0.001 * len(observations)
            while time.thread_time() < until:
                pass
            return super().act(observations, *arguments, **options)

    small = Policy.of_model("cartpole", "1", make_version().model.SerializeToString())
    slow = Slow(**{field.name: getattr(small, field.name) for field in fields(small)})
    runs = check_golden_file(slow, make_version().write(tmp_path))
    assert sum(sizes) == 80
    pace = measure_pace(runs)
    assert sum(sizes) == 80, "no run was for the pace alone"
    assert pace.alone_s >= 0.001
    assert pace.in_batch_s >= 0.0009


@pytest.mark.starts_processes
@pytest.mark.parametrize("batching", ["on", "off"])
def test_a_version_that_is_accepted_comes_with_the_pace_that_its_validator_measured(
    tmp_path: Path, batching: str
) -> None:
    ref = VersionRef("cartpole", "1", make_version().write(tmp_path), make_version().sha256)
    validator = Validator(load_settings({"batching": batching}))
    try:
        accepted = validator.validate(ref, None)
    finally:
        validator.close()
    assert accepted.ref == ref
    assert accepted.run_id == "run-0"
    assert accepted.pace.is_batched is (batching == "on")
    assert 0 < accepted.pace.in_batch_s <= accepted.pace.alone_s


def test_every_worker_answers_at_the_pace_that_was_measured_once(tmp_path: Path) -> None:
    ref = VersionRef("cartpole", "1", make_version().write(tmp_path), make_version().sha256)
    accepted = AcceptedVersion(ref, Pace(alone_s=3.0, in_batch_s=0.5, is_batched=True), "run-0")
    paces = []
    for workers in (LoaderOnly(), LoaderOnly()):
        workers.prepare(accepted)
        workers.switch({"cartpole": {"champion": accepted}})
        paces.append(workers.catalog.resolve("cartpole", "", None).pace)
    assert paces == [accepted.pace] * 2


def test_a_loaded_policy_cannot_be_changed() -> None:
    policy = Policy.of_model("cartpole", "1", make_version().model.SerializeToString())
    with pytest.raises(AttributeError, match="cannot assign to field 'pace'"):
        policy.pace = Pace(1.0, 1.0)  # type: ignore[misc]
