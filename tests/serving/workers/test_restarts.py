"""When workers that end are started again, and when the service gives up."""

import signal

import pytest

from polserve.serving.workers.restarts import MOST_FAILURES, STEADY_S, Restarts, WorkerEnd

AT_START = WorkerEnd(1, None)
CRASHED = WorkerEnd(-signal.SIGSEGV, 1.0)


def test_a_worker_that_fails_is_started_again_later_and_later() -> None:
    restarts = Restarts(1)
    assert [restarts.delay_s(0, CRASHED) for _ in range(7)] == [0.5, 1, 2, 4, 8, 10, 10]


@pytest.mark.parametrize(
    "end",
    [WorkerEnd(-signal.SIGKILL, 0.1), WorkerEnd(-signal.SIGTERM, 0.1), WorkerEnd(-signal.SIGSEGV, STEADY_S + 1)],
    ids=["killed by somebody", "told to end", "crashed after a long time"],
)
def test_a_worker_that_has_shown_that_it_can_start_is_replaced_at_once(end: WorkerEnd) -> None:
    restarts = Restarts(1)
    for _ in range(3):
        restarts.delay_s(0, AT_START)
    assert restarts.delay_s(0, end) == 0.0
    assert restarts.delay_s(0, AT_START) == 0.5, "the failures before it are forgotten"


def test_a_worker_that_is_killed_before_it_answers_or_for_its_silence_has_failed() -> None:
    assert WorkerEnd(-signal.SIGKILL, None).is_failure
    assert WorkerEnd(-signal.SIGKILL, 1.0, was_silent=True).is_failure


def test_the_service_gives_up_when_every_worker_fails_and_not_before() -> None:
    restarts = Restarts(2)
    for _ in range(2 * MOST_FAILURES):
        restarts.delay_s(0, AT_START)
    assert not restarts.is_hopeless, "the other one answers"
    for n in range(MOST_FAILURES):
        assert not restarts.is_hopeless, n
        restarts.delay_s(1, None)
    assert restarts.is_hopeless
