"""The model is run once for what is asked together; what is slow goes to a thread, bounded in number and bytes."""

import queue
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from polserve.serving.errors import Expired, NotReady, Overloaded
from polserve.serving.inference.inference import INLINE_S, ROUND_S, Capacity, Inference
from polserve.serving.inference.waiting import MAX_WAITING_BYTES, Question, Result
from polserve.serving.policy import Answer, Policy
from polserve.serving.versions import Pace
from tests.support.versions import make_version

GOLDEN = make_version().golden
FAST = Pace(1e-6, 1e-7, is_batched=True)
SLOW = Pace(1.0, 0.001, is_batched=True)
INLINE = Pace(0.9 * INLINE_S, 1e-6, is_batched=False)
"""Of a version whose runs one turn of the loop has time for `N_A_TURN` of."""
N_A_TURN = int(ROUND_S // INLINE.alone_s)


class Loop:
    """Calls what was posted, where the test says so."""

    def __init__(self) -> None:
        self.posted = queue.SimpleQueue[Callable[[], None]]()

    def turn(self, n: int = 1) -> None:
        """Call the next `n` functions that were posted, or will be."""
        for _ in range(n):
            self.posted.get(timeout=30)()


class Runs:
    """Counts runs."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def count_run(self, _policy: Policy, answer: Answer, _seconds: float, _waited: Sequence[tuple[float, int]]) -> None:
        self.sizes.append(len(answer.actions))


def loaded(pace: Pace) -> Policy:
    """A version that takes so long, or so it says."""
    return Policy.of_model("cartpole", "1", make_version().model.SerializeToString(), pace)


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def runs() -> Runs:
    return Runs()


@pytest.fixture
def inference(loop: Loop, runs: Runs) -> Inference:
    return Inference(runs, np.random.default_rng(0), Capacity(max_waiting=4, max_batch=8), loop.posted.put)


class Asked:
    """Questions, and what each was told."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.told: list[Result] = []

    def about(self, rows: slice, *, is_wanted: Callable[[], bool] = lambda: True, epsilon: float = 0.0) -> Question:
        return Question(self.policy, GOLDEN["observation"][rows], False, epsilon, is_wanted, self.told.append)

    @property
    def actions(self) -> list[int]:
        return [int(action) for result in self.told if isinstance(result, Answer) for action in result.actions]


def test_what_is_asked_together_is_one_run_and_each_gets_its_part(inference: Inference, runs: Runs) -> None:
    policy = loaded(FAST)
    asked = Asked(policy)
    inference.ask([asked.about(slice(0, 2)), asked.about(slice(2, 3)), asked.about(slice(3, 8))])
    assert asked.actions == GOLDEN["action"][:8].tolist()
    assert runs.sizes == [8]


def test_no_run_is_larger_than_was_said(inference: Inference, runs: Runs) -> None:
    policy = loaded(FAST)
    asked = Asked(policy)
    inference.ask([asked.about(slice(i, i + 1)) for i in range(20)])
    assert asked.actions == GOLDEN["action"][:20].tolist()
    assert runs.sizes == [8, 8, 4]


def test_a_policy_that_is_not_batched_is_run_for_each_question(inference: Inference, runs: Runs) -> None:
    policy = loaded(replace(FAST, is_batched=False))
    asked = Asked(policy)
    inference.ask([asked.about(slice(i, i + 1)) for i in range(3)])
    assert runs.sizes == [1, 1, 1]
    assert inference.rows_together(policy) == 1


def test_what_explores_does_not_change_the_answers_of_others(inference: Inference) -> None:
    policy = loaded(FAST)
    greedy, exploring = Asked(policy), Asked(policy)
    inference.ask([greedy.about(slice(0, 4)), exploring.about(slice(0, 4), epsilon=1.0)])
    assert greedy.actions == GOLDEN["action"][:4].tolist()
    (answer,) = exploring.told
    assert isinstance(answer, Answer)
    assert answer.explored is not None
    assert answer.explored.all()


def test_a_slow_model_leaves_the_loop_free_and_what_is_asked_meanwhile_goes_together(
    inference: Inference, runs: Runs, loop: Loop
) -> None:
    policy = loaded(SLOW)
    asked = Asked(policy)
    inference.ask([asked.about(slice(0, 1))])
    loop.turn()  # the thread gets its work
    inference.ask([asked.about(slice(i, i + 1)) for i in range(1, 4)])
    assert asked.told == []
    loop.turn()
    assert asked.actions == GOLDEN["action"][:1].tolist()
    loop.turn()
    assert asked.actions == GOLDEN["action"][:4].tolist()
    assert runs.sizes == [1, 3]


def test_what_nobody_wants_any_more_never_reaches_the_model(inference: Inference, runs: Runs, loop: Loop) -> None:
    policy = loaded(SLOW)
    asked = Asked(policy)
    inference.ask([asked.about(slice(0, 1), is_wanted=lambda: False), asked.about(slice(1, 2))])
    loop.turn(2)
    assert [type(result) for result in asked.told] == [Expired, Answer]
    assert runs.sizes == [1]


def test_what_waits_is_bounded_in_number(inference: Inference) -> None:
    policy = loaded(SLOW)
    asked = Asked(policy)
    inference.ask([asked.about(slice(0, 1)) for _ in range(5)])
    (refusal,) = asked.told
    assert isinstance(refusal, Overloaded)
    assert str(refusal) == "the queue is full: 4 calls wait for the model; try again in 0.1 s"


def test_what_waits_is_bounded_in_bytes(inference: Inference) -> None:
    policy = loaded(Pace(2e-3, 0.0))
    told: list[Result] = []
    large = np.zeros((MAX_WAITING_BYTES // 32, 4), np.float32)  # half of what may wait
    inference.ask([Question(policy, large, False, 0.0, lambda: True, told.append) for _ in range(3)])
    (refusal,) = told
    assert isinstance(refusal, Overloaded)
    assert "256 MiB of observations wait for the model" in str(refusal)


def test_a_closed_one_takes_no_more_and_answers_what_waits(inference: Inference, loop: Loop) -> None:
    policy = loaded(SLOW)
    waiting, late = Asked(policy), Asked(policy)
    inference.ask([waiting.about(slice(0, 1))])
    inference.close()
    inference.ask([late.about(slice(0, 1))])
    assert isinstance(late.told[0], NotReady)
    loop.turn(2)
    assert waiting.actions == GOLDEN["action"][:1].tolist()


def test_an_error_of_the_model_is_told_to_all_who_asked(inference: Inference) -> None:
    policy = loaded(FAST)
    told: list[Result] = []
    wrong = np.zeros((1, 5), np.float32)
    inference.ask([Question(policy, wrong, False, 0.0, lambda: True, told.append) for _ in range(2)])
    assert len(told) == 2
    assert all(isinstance(result, Exception) for result in told)


def test_what_was_answered_is_not_held_until_there_is_more_to_do(inference: Inference, loop: Loop) -> None:
    policy = loaded(SLOW)
    batch = np.zeros((3, 4), np.float32)
    held = weakref.ref(batch)
    answered = threading.Event()
    inference.ask([Question(policy, batch, False, 0.0, lambda: True, lambda _result: answered.set())])
    del batch
    loop.turn(2)
    assert answered.is_set()
    assert held() is None


def test_what_a_turn_of_the_loop_has_no_time_for_is_answered_in_the_next_and_in_order(
    inference: Inference, runs: Runs, loop: Loop
) -> None:
    policy = loaded(INLINE)
    asked, late = Asked(policy), Asked(policy)
    n = 2 * N_A_TURN + 1
    inference.ask([asked.about(slice(i, i + 1)) for i in range(n)])
    assert asked.actions == GOLDEN["action"][:N_A_TURN].tolist()
    inference.ask([late.about(slice(n, n + 1))])
    assert late.told == []
    loop.turn()
    assert asked.actions == GOLDEN["action"][: 2 * N_A_TURN].tolist()
    loop.turn()
    assert asked.actions == GOLDEN["action"][:n].tolist()
    assert late.actions == GOLDEN["action"][n : n + 1].tolist()
    assert runs.sizes == [1] * (n + 1)


def test_what_was_put_off_and_is_no_longer_wanted_is_dropped(inference: Inference, runs: Runs, loop: Loop) -> None:
    policy = loaded(INLINE)
    asked = Asked(policy)
    inference.ask([asked.about(slice(0, 1), is_wanted=lambda: False) for _ in range(N_A_TURN + 1)])
    loop.turn()
    assert [type(result) for result in asked.told] == [Answer] * N_A_TURN + [Expired]
    assert runs.sizes == [1] * N_A_TURN


def test_what_is_put_off_counts_as_waiting_for_the_loop(inference: Inference, loop: Loop) -> None:
    asked = Asked(loaded(INLINE))
    n = 2 * N_A_TURN
    inference.ask([asked.about(slice(i % 8, i % 8 + 1)) for i in range(n)])
    assert inference.pressure.n_put_off == n - N_A_TURN
    loop.turn()
    assert inference.pressure.n_put_off == 0


def test_under_overload_what_was_put_off_for_too_long_is_refused_but_no_step_of_an_episode(
    inference: Inference, loop: Loop
) -> None:
    for tick in range(200):  # three times as much comes as is done
        inference.pressure.note_round(500, n_answered=10, seconds=0.01)
        for _ in range(30):
            inference.pressure.refusal(deadline=1e9, now=0.01 * tick, is_lone=False)
    asked = Asked(loaded(INLINE))
    soon = time.monotonic() + 60
    put_off = [replace(asked.about(slice(0, 1)), deadline=soon, asked_at=time.perf_counter() - 9.0) for _ in range(2)]
    put_off[1].is_step = True
    inference.ask([asked.about(slice(i % 8, i % 8 + 1)) for i in range(N_A_TURN)] + put_off)
    loop.turn()
    refused, step = asked.told[-2:]
    assert isinstance(refused, Overloaded)
    assert refused.reason == "wait"
    assert isinstance(step, Answer)
