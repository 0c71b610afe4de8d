"""Calls are refused early where more comes than is done, and never because a crowd waits for its answers."""

import math

import pytest

from polserve.serving.admission import HOLD_S, Admission, WaitLimits
from polserve.serving.errors import Overloaded

LIMITS = WaitLimits(overload_s=0.05, patience_s=5.0)
LIMIT_S = LIMITS.under_overload_s(0.001)
WORK_S = 0.001


class Queue:
    """A queue that answers a call each millisecond, and what becomes of the calls that come."""

    def __init__(self) -> None:
        self.admission = Admission(LIMITS)
        self.now = 1000.0
        self.waiting = 0.0
        self.waits: list[float] = []
        """Waits of the calls that were taken."""
        self.n_refused = 0

    def come(self, per_s: float, seconds: float, left_s: float = 10.0) -> None:
        """Let calls come at a steady rate."""
        for _ in range(round(per_s * seconds)):
            self.pass_time(1 / per_s)
            self.ask(left_s)

    def crowd(self, n: int, seconds: float) -> None:
        """Let n callers each ask again as soon as they are answered, so that n calls wait all the time."""
        for _ in range(n):
            self.ask()
        for _ in range(round(seconds / WORK_S)):
            self.pass_time(WORK_S)
            self.ask()

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.waiting = max(0.0, self.waiting - seconds / WORK_S)

    def ask(self, left_s: float = 10.0) -> None:
        wait_s = self.waiting * WORK_S
        self.admission.note(WORK_S, wait_s, LIMIT_S, self.now)
        if self.admission.refusal(wait_s, left_s, LIMIT_S) is None:
            self.waiting += 1
            self.waits.append(wait_s)
        else:
            self.n_refused += 1


@pytest.fixture
def queue() -> Queue:
    return Queue()


def test_three_times_what_can_be_done_is_refused_early_and_the_rest_keeps_the_queue_full(queue: Queue) -> None:
    queue.come(3000, 2.0)
    queue.waits.clear()
    queue.come(3000, 5.0)
    assert len(queue.waits) == pytest.approx(5 * 1000, rel=0.05), "as many as can be done"
    assert max(queue.waits) <= LIMIT_S


def test_a_load_that_can_be_done_is_never_refused(queue: Queue) -> None:
    queue.come(900, 20.0)
    assert queue.n_refused == 0


def test_a_crowd_that_waits_for_its_answers_is_no_overload(queue: Queue) -> None:
    queue.crowd(500, 20.0)
    assert queue.n_refused == 0
    assert max(queue.waits) > 8 * LIMIT_S


def test_calls_are_taken_again_once_less_comes(queue: Queue) -> None:
    queue.come(3000, 3.0)
    assert queue.admission.is_overloaded
    queue.come(500, 3.0)
    assert not queue.admission.is_overloaded


def test_a_crowd_that_was_taken_for_an_overload_is_refused_no_more_after_a_while(queue: Queue) -> None:
    queue.come(3000, 1.0)
    assert queue.admission.is_overloaded
    queue.crowd(500, HOLD_S + 1)
    refused = queue.n_refused
    queue.crowd(500, 5.0)
    assert queue.n_refused == refused


def test_a_call_whose_deadline_would_pass_in_the_queue_is_refused_at_once(queue: Queue) -> None:
    queue.crowd(500, 1.0)
    refusal = queue.admission.refusal(0.5, 0.2, LIMIT_S)
    assert isinstance(refusal, Overloaded)
    assert str(refusal) == (
        "overloaded: the call would wait for 500 ms, and its deadline is in 200 ms; try again in 0.5 s"
    )
    assert refusal.reason == "deadline"


def test_a_call_without_a_deadline_waits_for_as_long_as_the_setting_says(queue: Queue) -> None:
    queue.come(3000, 2.0)
    assert queue.admission.is_overloaded
    assert queue.admission.refusal(4.9, math.inf, LIMIT_S) is None
    refusal = queue.admission.refusal(5.1, math.inf, LIMIT_S)
    assert isinstance(refusal, Overloaded)
    assert refusal.reason == "wait"


def test_a_slow_model_may_have_a_few_runs_waiting_under_overload() -> None:
    assert LIMITS.under_overload_s(0.02) == pytest.approx(0.16)
