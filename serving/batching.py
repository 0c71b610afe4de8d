"""What waits at the same moment for the same version is answered together.

Nothing waits for a batch to fill: whatever is there when the model is free goes to it, a lone observation at once.
What takes long goes through a queue to a thread of its own, so that a thread that reads calls is free for others.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import structlog
from numpy.typing import NDArray

from polserve.serving.errors import DROPPED, Expired, NotReady, Overloaded
from polserve.serving.metrics.answers import AnsweringMetrics
from polserve.serving.policy import Answer, Policy

MAX_WAITING_BYTES = 256 * 2**20
"""Observations that wait, at most: a few calls may be as large as a message may be."""
RETRY_AFTER_S = 0.1

Outcome: TypeAlias = Answer | Exception

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class Work:
    """Observations that wait for the model."""

    policy: Policy
    observations: NDArray[Any]  # (n, *shape)
    with_values: bool
    is_wanted: Callable[[], bool]
    """False once nobody waits for the answer: its deadline has passed, or the client has gone."""
    done: Callable[[Outcome], None]
    queued_at: float = field(default_factory=time.perf_counter)


class InferenceQueue:
    """Bounded; one thread, since a second one would split the batches and contend for the same core."""

    def __init__(self, metrics: AnsweringMetrics, *, max_waiting: int, max_batch: int) -> None:
        self.max_batch = max_batch
        self._metrics = metrics
        self._max_waiting = max_waiting
        self._waiting: deque[Work] = deque()
        self._waiting_bytes = 0
        self._condition = threading.Condition()
        self._is_closed = False
        threading.Thread(target=self._run, name="inference", daemon=True).start()

    def put(self, work: Work) -> None:
        """`work.done` will be called from the inference thread.

        Raises:
            Overloaded: too much waits already.
            NotReady: the queue was closed.
        """
        with self._condition:
            if self._is_closed:
                raise NotReady("stopping: the call came too late to be answered")
            if len(self._waiting) >= self._max_waiting:
                raise Overloaded(f"the queue is full: {len(self._waiting)} calls wait for the model", RETRY_AFTER_S)
            n_bytes = work.observations.nbytes
            if self._waiting and self._waiting_bytes + n_bytes > MAX_WAITING_BYTES:
                waiting = f"{self._waiting_bytes >> 20} MiB of observations wait for the model"
                raise Overloaded(f"the queue is full: {waiting}", RETRY_AFTER_S)
            self._waiting.append(work)
            self._waiting_bytes += n_bytes
            self._condition.notify()

    def close(self) -> None:
        """End the thread once nothing waits any more."""
        with self._condition:
            self._is_closed = True
            self._condition.notify()

    def _run(self) -> None:
        while group := self._take():
            try:
                answer_together(self._metrics, group)
            except Exception:
                log.exception("inference_failed", policy=group[0].policy.name)
            group.clear()  # what was answered is not held until there is more to do

    def _take(self) -> list[Work]:
        """What goes to the model next: the work that waited longest, and all of its kind that fits with it."""
        with self._condition:
            while not self._waiting:
                if self._is_closed:
                    return []
                self._condition.wait()
            group = [self._waiting.popleft()]
            policy, room = group[0].policy, self.max_batch - len(group[0].observations)
            if policy.pace.is_batched and room > 0:
                others: deque[Work] = deque()
                for work in self._waiting:
                    if work.policy is policy and len(work.observations) <= room:
                        group.append(work)
                        room -= len(work.observations)
                    else:
                        others.append(work)
                self._waiting = others
            self._waiting_bytes -= sum(work.observations.nbytes for work in group)
            return group


def answer_together(metrics: AnsweringMetrics, group: Sequence[Work]) -> None:
    """One run of the model answers all of the group, which is of one policy; what nobody wants any more is dropped."""
    wanted = []
    for work in group:
        if work.is_wanted():
            wanted.append(work)
        else:
            work.done(Expired(DROPPED))
    if not wanted:
        return
    started = time.perf_counter()
    metrics.batch_size.observe(sum(len(work.observations) for work in wanted))
    for work in wanted:
        metrics.queue.observe(started - work.queued_at)
    try:
        observations = [work.observations for work in wanted]
        answer = timed_act(
            metrics,
            wanted[0].policy,
            np.concatenate(observations) if len(wanted) > 1 else observations[0],
            with_values=any(work.with_values for work in wanted),
            is_wanted=lambda: any(work.is_wanted() for work in wanted),
        )
    except Exception as error:  # noqa: BLE001 - whoever waits must be told, whatever it was
        for work in wanted:
            work.done(error)
        return
    at = 0
    for work in wanted:
        part = slice(at, at := at + len(work.observations))
        values = answer.values[part] if work.with_values and answer.values is not None else None
        work.done(Answer(answer.actions[part], values))


def split(group: Sequence[Work], *, max_batch: int, max_s: float) -> Iterator[Sequence[Work]]:
    """The group of one policy in parts that take the model no longer than `max_s`, and hold at most `max_batch`."""
    part: list[Work] = []
    n = 0
    for work in group:
        size = len(work.observations)
        if part and (n + size > max_batch or work.policy.pace.seconds(n + size) > max_s):
            yield part
            part, n = [], 0
        part.append(work)
        n += size
    if part:
        yield part


def timed_act(
    metrics: AnsweringMetrics,
    policy: Policy,
    observations: NDArray[Any],
    *,
    with_values: bool,
    is_wanted: Callable[[], bool],
) -> Answer:
    """The policy's answer; metrics know how long the model took.

    Raises:
        Expired: nobody wanted it any more before all parts were answered.
    """
    started = time.perf_counter()
    answer = policy.act(observations, with_values=with_values, is_wanted=is_wanted)
    metrics.policy(policy).observe_inference(time.perf_counter() - started)
    return answer
