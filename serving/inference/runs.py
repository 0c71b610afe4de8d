"""Runs of the models: one for several questions, and what is remembered of each."""

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from polserve.serving.inference.run_watch import RunSlot
from polserve.serving.inference.waiting import Question, Result
from polserve.serving.policy import Answer, Policy


class Run(NamedTuple):
    """One run of a model; keeps nothing of a version that may be unloaded meanwhile."""

    policy: str
    version: str
    started: float
    """When it began, by `time.perf_counter`."""
    seconds: float
    n: int
    """Observations in it."""


class RunCounter(Protocol):
    """Where runs of the models are counted."""

    def count_run(self, policy: Policy, answer: Answer, seconds: float, waited: Sequence[tuple[float, int]]) -> None:
        """Count a run that took `seconds` and gave this answer; `waited` is seconds, and how many callers waited so."""


def run_together(slot: RunSlot, group: Sequence[Question]) -> tuple[Result, float, float]:
    """Run the model once for all of a group; the values after the result are when it began and how long it took."""
    first = group[0]
    if len(group) == 1:
        rows, is_wanted = first.observations, first.is_wanted
    else:
        rows = np.concatenate([question.observations for question in group])

        def is_wanted() -> bool:
            return any(question.is_wanted() for question in group)

    started = time.perf_counter()
    try:
        answer: Result = slot.act(first.policy, rows, with_values=first.with_values, is_wanted=is_wanted)
    except Exception as error:  # noqa: BLE001 - whoever waits must be told, whatever it was
        answer = error
    return answer, started, time.perf_counter() - started


def split(group: Sequence[Question], *, max_rows: int, max_s: float) -> Iterator[Sequence[Question]]:
    """Yield the questions of one policy in parts that take the model at most `max_s`, and hold at most `max_rows`."""
    part: list[Question] = []
    n = 0
    for question in group:
        size = len(question.observations)
        if part and (n + size > max_rows or question.policy.pace.seconds(n + size) > max_s):
            yield part
            part, n = [], 0
        part.append(question)
        n += size
    if part:
        yield part
