"""Calls are refused early where more comes than is done, and never because a crowd waits for its answers."""

import math

import pytest

from polserve.serving.errors import Overloaded
from polserve.serving.inference.admission import HOLD_S, Admission, LoopPressure, WaitLimits
from tests.support.overload import WORK_S, overload

LIMITS = WaitLimits(overload_s=0.05, patience_s=5.0)
LIMIT_S = LIMITS.under_overload_s(0.001)


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


def test_a_call_that_would_wait_for_more_than_half_the_time_to_its_deadline_is_refused_at_once(queue: Queue) -> None:
    queue.crowd(500, 1.0)
    assert queue.admission.refusal(0.5, 1.1, LIMIT_S) is None
    refusal = queue.admission.refusal(0.5, 0.9, LIMIT_S)
    assert isinstance(refusal, Overloaded)
    assert str(refusal) == (
        "overloaded: the call would wait for 500 ms, which is most of the time to its deadline, or more; "
        "try again in 0.5 s"
    )
    assert refusal.reason == "deadline"


def test_a_crowd_whose_deadlines_would_pass_is_an_overload(queue: Queue) -> None:
    for _ in range(3000):  # clients hold back what their streams have no room for: as much comes as is done
        queue.pass_time(WORK_S)
        while queue.waiting < 500 and queue.n_refused + len(queue.waits) < 20_000:
            refused = queue.n_refused
            queue.ask(left_s=0.8)
            if queue.n_refused > refused:
                break
    assert queue.admission.is_overloaded
    assert max(queue.waits[-1000:]) <= LIMIT_S


def test_a_call_without_a_deadline_waits_for_as_long_as_the_setting_says(queue: Queue) -> None:
    queue.come(3000, 2.0)
    assert queue.admission.is_overloaded
    assert queue.admission.refusal(4.9, math.inf, LIMIT_S) is None
    refusal = queue.admission.refusal(5.1, math.inf, LIMIT_S)
    assert isinstance(refusal, Overloaded)
    assert refusal.reason == "wait"


def test_a_slow_model_may_have_a_few_runs_waiting_under_overload() -> None:
    assert LIMITS.under_overload_s(0.02) == pytest.approx(0.08)


def overloaded(limits: WaitLimits = LIMITS) -> LoopPressure:
    """A loop that three times as many calls have come to for a second as it can answer."""
    pressure = LoopPressure(limits)
    overload(pressure)
    return pressure


def test_a_call_that_has_waited_for_twice_as_long_as_it_may_is_refused_after_all() -> None:
    pressure = overloaded()
    assert pressure.staleness(deadline=1e9, now=2.0, waited_s=0.09) is None
    refusal = pressure.staleness(deadline=1e9, now=2.0, waited_s=0.11)
    assert refusal is not None
    assert refusal.reason == "wait"
    assert pressure.staleness(deadline=math.inf, now=2.0, waited_s=0.11) is None, "it waits for as long as it takes"


def test_calls_that_waited_while_the_machine_made_the_loop_pause_may_wait_for_longer() -> None:
    pressure = overloaded()
    pressure.note_round(500, n_answered=250, seconds=0.2)
    assert pressure.staleness(deadline=1e9, now=2.0, waited_s=0.19) is None
    for _ in range(1000):
        pressure.note_round(500, n_answered=250, seconds=0.02)
    assert pressure.staleness(deadline=1e9, now=2.0, waited_s=0.19) is not None


def test_under_overload_each_call_is_asked_after_also_where_nothing_waits() -> None:
    pressure = overloaded()
    pressure.note_round(0, n_answered=10, seconds=10 * WORK_S)
    assert pressure.wait_s == 0
    assert pressure.is_felt
    refused = [pressure.refusal(deadline=1e9, now=1.01, is_lone=False) for _ in range(200)]
    assert refused.index(next(filter(None, refused))) == pytest.approx(LIMITS.overload_s / WORK_S, abs=1)


def test_a_few_calls_may_wait_for_the_loop_also_where_a_full_machine_makes_each_of_them_long() -> None:
    pressure = LoopPressure(WaitLimits(overload_s=0.01))
    for tick in range(100):
        pressure.note_round(50, n_answered=2, seconds=0.1)
        for _ in range(6):
            pressure.refusal(deadline=1e9, now=0.1 * tick, is_lone=False)
    pressure.note_round(0, n_answered=2, seconds=0.1)
    assert pressure.is_overloaded_at(10.0)
    told = [pressure.refusal(deadline=1e9, now=10.0, is_lone=False) for _ in range(20)]
    assert told[:4] == [None] * 4
    assert all(told[6:])


def test_an_overload_that_goes_on_is_noticed_sooner_the_second_time(queue: Queue) -> None:
    queue.come(3000, 1.0)
    assert queue.admission.is_overloaded
    queue.come(3000, HOLD_S + 0.3)  # it was tried meanwhile whether a crowd was taken for an overload
    assert queue.admission.is_overloaded
    assert max(queue.waits[-3000:]) < 0.5


def test_how_long_a_call_takes_the_loop_is_known_also_where_few_are_answered() -> None:
    pressure = LoopPressure(LIMITS)
    pressure.note_round(0, n_answered=10, seconds=0.1)
    pressure.note_round(100, n_answered=10, seconds=0.1)
    assert pressure.wait_s == pytest.approx(1.0)


def test_an_overload_of_a_slow_version_is_over_for_the_loop_too_though_nobody_asks_for_it_any_more() -> None:
    pressure = LoopPressure(LIMITS)
    pressure.crowded_until = 20.0
    assert pressure.is_overloaded_at(19.9)
    assert not pressure.is_overloaded_at(20.1)
