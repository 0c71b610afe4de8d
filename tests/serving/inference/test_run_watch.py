"""A run of a model that takes too much time or memory is ended, and its version withdrawn where that happens often."""

import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.polserve.v1 import policy_pb2_grpc
from polserve.protos.shared.names import CHAMPION
from polserve.serving.client import PolicyClient
from polserve.serving.errors import RanAway
from polserve.serving.inference.run_marks import RunMarks
from polserve.serving.inference.run_watch import GRACE_TICKS, RunLimits, RunSlot, RunWatch
from polserve.serving.policy import Policy
from polserve.serving.versions import Runaway, VersionRef
from polserve.training.versions.version import PolicyVersion
from tests.support.local_workers import LoaderOnly
from tests.support.running import Running, service, wait_until
from tests.support.trapped import TRIGGER, Trap, make_trapped_version
from tests.support.versions import make_version

CALM = np.zeros((1, 4), np.float32)
SPRUNG = np.full((1, 4), TRIGGER, np.float32)


def loaded(trap: Trap) -> Policy:
    return Policy.of_model("cartpole", "2", make_trapped_version(trap).model.SerializeToString())


def watching(limits: RunLimits) -> tuple[RunWatch, list[Runaway]]:
    """A watch that looks when it is told to, and what it reports."""
    watch, reports = RunWatch(limits), list[Runaway]()
    watch.report = reports.append
    return watch, reports


def run_away(slot: RunSlot, policy: Policy) -> None:
    """Spring the trap of a version, and be told."""
    with pytest.raises(RanAway):
        slot.act(policy, SPRUNG, with_values=False)


@pytest.fixture
def turning() -> Iterator[tuple[RunWatch, list[Runaway]]]:
    watch, reports = watching(RunLimits(seconds=0.5))
    watch.start()
    yield watch, reports
    watch.close()


def test_a_run_of_endless_turns_is_ended_and_the_next_one_is_answered(turning: tuple[RunWatch, list[Runaway]]) -> None:
    watch, reports = turning
    policy, slot = loaded("turns"), watch.slot()
    with pytest.raises(RanAway, match=r"cartpole/2: a run of 1 observations took longer than 0.5 s and was ended"):
        slot.act(policy, SPRUNG, with_values=False)
    assert [(one.policy, one.version, one.sha256) for one in reports] == [("cartpole", "2", policy.sha256)]
    assert slot.act(policy, CALM, with_values=False).actions.shape == (1,)
    assert len(reports) == 1


def test_a_run_that_asks_for_more_memory_than_there_is_counts_as_one_that_ran_away() -> None:
    watch, reports = watching(RunLimits())
    with pytest.raises(RanAway, match="asked for more memory than there is"):
        watch.slot().act(loaded("memory"), SPRUNG, with_values=False)
    assert len(reports) == 1


def test_a_run_that_takes_too_much_memory_is_told_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, reports = watching(RunLimits(seconds=100, memory_mib=1))
    policy, slot = loaded("turns"), watch.slot()
    resident = iter([0, 2**30, 2**30])
    monkeypatch.setattr("polserve.serving.inference.run_watch._resident_bytes", lambda: next(resident))
    watch.look()
    running = threading.Thread(target=run_away, args=(slot, policy))
    running.start()
    wait_until(lambda: slot.run is not None)
    assert slot.run is not None
    slot.run.n_ticks = 1
    watch.look()
    running.join(30)
    assert not running.is_alive()
    assert reports[0].reason == "a run of 1 observations took more than 1 MiB of memory"


def outlasted() -> tuple[bool, int, list[bool]]:
    """Whether a run went on for all looks at it, how many reports there were, and what was given up."""
    watch, reports = watching(RunLimits(seconds=0.0))
    given_up: list[bool] = []
    watch.give_up = lambda: given_up.append(True)
    policy, slot = loaded("brief operator"), watch.slot()
    running = threading.Thread(target=run_away, args=(slot, policy))
    running.start()
    wait_until(lambda: slot.run is not None)
    for _ in range(GRACE_TICKS + 5):
        watch.look()
    found = slot.run is not None, len(reports), list(given_up)
    running.join(120)
    return found


def test_a_run_that_goes_on_after_it_was_told_to_end_is_given_up_once() -> None:
    attempts = (outlasted() for _ in range(5))  # a busy machine may look so late that the run has ended
    assert next((found for found in attempts if found[0]), None) == (True, 1, [True])


def test_looks_that_no_run_lasts_do_nothing() -> None:
    watch, reports = watching(RunLimits(seconds=0.0))
    policy, slot = loaded("turns"), watch.slot()
    for _ in range(20):
        slot.act(policy, CALM, with_values=False)
        watch.look()
    assert reports == []


def test_what_a_worker_ran_is_known_after_its_end_and_told_once() -> None:
    marks = RunMarks(2)
    policy = loaded("turns")
    first, second = RunMarks(2, marks.fd).of(1)
    first.set(policy)
    second.set(policy)
    second.clear()
    assert marks.take(0) == []
    assert marks.take(1) == [("cartpole", "2", policy.sha256)]
    assert marks.take(1) == []


def ref(version: PolicyVersion, folder: Path, number: str) -> VersionRef:
    return VersionRef("cartpole", number, version.write(folder / number), version.sha256)


def test_a_withdrawn_version_gives_way_to_the_one_before_and_is_not_tried_again(tmp_path: Path) -> None:
    workers = LoaderOnly()
    rollout = workers.rollout()
    good, bad = ref(make_version(), tmp_path, "1"), ref(make_version(1), tmp_path, "2")
    rollout.apply({"cartpole": {CHAMPION: good}})
    rollout.apply({"cartpole": {CHAMPION: bad}})
    result = rollout.withdraw("cartpole", "2", bad.sha256, "it ran away")
    assert result is not None
    assert (result.outcome, result.refusal) == ("withdrawn", "it ran away")
    assert workers.catalog.resolve("cartpole", "", None).version == "1"
    assert rollout.withdrawn() == [{"policy": "cartpole", "version": "2", "reason": "it ran away"}]
    assert rollout.apply({"cartpole": {CHAMPION: bad}}) == []
    assert rollout.aliases == {"cartpole": {CHAMPION: "1"}}
    assert rollout.withdraw("cartpole", "2", bad.sha256, "again") is None
    rollout.apply({"cartpole": {CHAMPION: good}})
    assert rollout.withdrawn() == []


def test_a_withdrawn_version_without_one_before_it_leaves_nothing_live(tmp_path: Path) -> None:
    rollout = LoaderOnly().rollout()
    bad = ref(make_version(), tmp_path, "1")
    rollout.apply({"cartpole": {CHAMPION: bad}})
    assert rollout.withdraw("cartpole", "1", bad.sha256, "it ran away") is not None
    assert rollout.aliases == {}


def spring(running: Running, timeout_s: float = 60.0) -> grpc.StatusCode:
    """Ask for what makes the champion run away; how the call ends."""
    own = [("grpc.use_local_subchannel_pool", 1)]  # else it may share a connection that has just been lost
    with grpc.insecure_channel(running.target, own) as channel:
        stub = policy_pb2_grpc.PolicyServiceStub(channel)
        request = pb.ActRequest(policy="cartpole", observation=pb.Tensor(values=[TRIGGER] * 4))
        try:
            stub.Act(request, timeout=timeout_s)
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize(("workers", "trap"), [("1", "turns"), ("2", "operator"), ("2", "crash")])
def test_a_version_that_runs_away_is_withdrawn_and_the_last_good_one_answers_again(
    tmp_path: Path, workers: str, trap: Trap
) -> None:
    folder = tmp_path / "policies"
    make_version().write(folder / "cartpole" / "1")
    make_version(3, name="other").write(folder / "other" / "1")
    cache = ("--cache-dir", str(tmp_path / "cache"))
    options = ("--policies", str(folder), *cache, "--poll-interval", "0.1", "--run-limit", "0.5", "--max-runaways", "2")
    with service(*options, "--workers", workers, folder=tmp_path) as running:
        wait_until(running.is_up, running.log)
        make_trapped_version(trap).write(folder / ".2").rename(folder / "cartpole" / "2")
        wait_until(lambda: running.ready()["policies"]["cartpole"]["champion"] == "2", running.log)
        with PolicyClient(running.target) as client:
            assert client.act("cartpole", CALM[0]).version == "2", "it passed every check"
            ends = [spring(running) for _ in range(2)]
            assert not {grpc.StatusCode.OK, grpc.StatusCode.INTERNAL}.intersection(ends)
            if workers == "1":
                assert ends == [grpc.StatusCode.DEADLINE_EXCEEDED] * 2
            wait_until(lambda: running.ready()["policies"]["cartpole"]["champion"] == "1", running.log)
            wait_until(lambda: client.act("other", CALM[0]).version == "1", running.log)
            assert client.act("cartpole", SPRUNG[0]).version == "1"
        (withdrawn,) = running.ready()["withdrawn"]
        assert (withdrawn["policy"], withdrawn["version"]) == ("cartpole", "2")
        assert withdrawn["reason"].startswith(
            "after 2 runs that had to be ended: a run " + ("ended its" if trap == "crash" else "of 1 obs")
        )
        metrics = running.metrics()
        assert 'polserve_runaways_total{policy="cartpole",version="2"} 2.0' in metrics
        assert 'polserve_rollouts_total{outcome="withdrawn",policy="cartpole"} 1.0' in metrics
        assert "event=version_withdrawn" in running.log.read_text()
