"""What waits for slow models: versions share the thread, open episodes come first, and room is bounded."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest

from polserve.serving.errors import Overloaded
from polserve.serving.inference.admission import LONGEST_HOLD_S, WaitLimits
from polserve.serving.inference.waiting import Question, Result, WaitingRoom
from polserve.serving.policy import Policy
from polserve.serving.versions import Pace
from tests.support.versions import make_version

MODEL = make_version().model.SerializeToString()
SLOW = Pace(0.01, 0.001)
MOST = 8


def loaded(name: str, pace: Pace = SLOW) -> Policy:
    return Policy.of_model(name, "1", MODEL, pace)


@pytest.fixture
def room() -> WaitingRoom:
    return WaitingRoom(MOST, max_batch=4, limits=WaitLimits(patience_s=5.0))


class Asking:
    """Questions about one version, and what each was told."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.told: list[Result] = []

    def question(self, *, left_s: float = math.inf, is_step: bool = False) -> Question:
        deadline = time.monotonic() + left_s
        row = np.zeros((1, 4), np.float32)
        question = Question(self.policy, row, False, 0.0, lambda: True, self.told.append)
        return replace(question, deadline=deadline, is_step=is_step)

    @property
    def reasons(self) -> list[str]:
        return [result.reason for result in self.told if isinstance(result, Overloaded)]


def taken(room: WaitingRoom) -> Question:
    (question,) = room.take()
    room.note_run(question.policy, 1, question.policy.pace.alone_s)
    return question


def test_versions_that_wait_have_the_thread_in_turns_however_much_waits_for_one(room: WaitingRoom) -> None:
    crowded, lone = Asking(loaded("crowded")), Asking(loaded("lone"))
    for _ in range(6):
        room.put(crowded.question())
    taken(room)
    room.put(lone.question())
    assert "lone" in [taken(room).policy.name for _ in range(2)]


def test_a_slower_version_gets_fewer_runs_so_that_both_have_as_much_time(room: WaitingRoom) -> None:
    slower, faster = Asking(loaded("slower", Pace(0.04, 0.04))), Asking(loaded("faster"))
    for asking in (slower, faster, slower, faster, faster, faster, faster):
        room.put(asking.question())
    assert [taken(room).policy.name for _ in range(6)] == ["slower", *["faster"] * 4, "slower"]


def test_steps_of_open_episodes_come_before_other_calls(room: WaitingRoom) -> None:
    asking = Asking(loaded("cartpole"))
    room.put(asking.question())
    room.put(asking.question(is_step=True))
    assert [taken(room).is_step for _ in range(2)] == [True, False]


def test_a_step_is_not_refused_for_how_long_it_would_wait(room: WaitingRoom) -> None:
    asking = Asking(loaded("cartpole", Pace(3.0, 3.0)))
    for _ in range(2):
        room.put(asking.question())
    room.put(asking.question(is_step=True))
    assert asking.told == []
    room.put(asking.question())
    assert asking.reasons == ["wait"]


def test_a_call_whose_deadline_would_pass_while_it_waits_is_refused_at_once(room: WaitingRoom) -> None:
    asking = Asking(loaded("cartpole", Pace(0.5, 0.5)))
    room.put(asking.question())
    room.put(asking.question(left_s=0.3))
    room.put(asking.question(left_s=30.0))
    assert asking.reasons == ["deadline"]
    assert len(room) == 2


def test_the_longest_line_makes_room_for_a_version_that_waits_less(room: WaitingRoom) -> None:
    crowded, lone = Asking(loaded("crowded")), Asking(loaded("lone"))
    for _ in range(MOST):
        room.put(crowded.question())
    room.put(lone.question())
    assert (crowded.reasons, lone.told, len(room)) == (["queue"], [], MOST)
    room.put(crowded.question())
    assert crowded.reasons == ["queue", "queue"]


def test_what_runs_take_now_counts_and_not_what_was_measured_before(room: WaitingRoom) -> None:
    asking = Asking(loaded("cartpole"))
    for _ in range(40):
        room.note_run(asking.policy, 1, 10 * SLOW.alone_s)
    room.put(asking.question())
    room.put(asking.question(left_s=5 * SLOW.alone_s))
    assert asking.reasons == ["deadline"]


def test_what_fits_in_a_batch_is_taken_together() -> None:
    room = WaitingRoom(MOST, max_batch=4, limits=WaitLimits())
    asking = Asking(loaded("cartpole", replace(SLOW, is_batched=True)))
    for _ in range(6):
        room.put(asking.question())
    assert [len(room.take()), len(room.take()), len(room)] == [4, 2, 0]


def crowd(room: WaitingRoom, asking: Asking) -> None:
    """Ask for more than can be done, until the room knows."""
    begun, n = time.monotonic(), 0
    while room.overloaded_until < time.monotonic() < begun + 2.0:
        while n * 0.002 <= time.monotonic() - begun:  # as often on a machine that others keep busy
            room.put(asking.question())
            n += 1
        time.sleep(0.002)
    assert room.overloaded_until > time.monotonic()


def test_calls_that_are_let_in_and_on_their_way_count_for_those_after_them() -> None:
    room = WaitingRoom(1000, max_batch=4, limits=WaitLimits())
    asking = Asking(loaded("cartpole", Pace(0.01, 0.01)))
    crowd(room, asking)
    while room:
        room.take()
    deadline = time.monotonic() + 60
    told = [room.foresee(asking.policy, deadline, is_coming=True) for _ in range(50)]
    n_let_in = told.count(None)
    assert told == [None] * n_let_in + told[n_let_in:]
    assert n_let_in == pytest.approx(4, abs=1), "as many as may wait: four runs"
    room.put(asking.question(left_s=60))  # one of them has come, and waits in its own right
    assert room.foresee(asking.policy, deadline, is_coming=False) is not None
    assert room.foresee(loaded("other"), deadline, is_coming=True) is None, "nobody waits for that one"


def test_an_overload_is_over_by_the_clock_too() -> None:
    room = WaitingRoom(1000, max_batch=4, limits=WaitLimits())
    asking = Asking(loaded("cartpole", Pace(0.01, 0.01)))
    crowd(room, asking)
    assert time.monotonic() < room.overloaded_until < time.monotonic() + LONGEST_HOLD_S
