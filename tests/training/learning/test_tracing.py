"""A module is traced while no other thread runs a network."""

from collections.abc import Callable
from threading import Condition, Event, Thread

import numpy as np
import pytest
import torch
from torch import nn

from polserve.training.learning.tracing import GUARD, TracingGuard
from polserve.training.versions.export import export_graph


class Calling(nn.Module):
    """Linear network that calls a function each time that it runs."""

    def __init__(self, called: Callable[[], None]) -> None:
        super().__init__()
        self._layer = nn.Linear(4, 2)
        self._called = called

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        self._called()
        answer: torch.Tensor = self._layer(observation)
        return answer


def test_a_network_waits_in_its_thread_until_another_thread_has_exported() -> None:
    seen: list[bool] = []
    waited: list[bool] = []

    def learn() -> None:
        with GUARD.running():
            seen.append(torch.compiler.is_exporting())

    def start_other() -> None:
        if torch.compiler.is_exporting() and not waited:
            other.start()
            other.join(0.3)
            waited.append(other.is_alive())

    other = Thread(target=learn)
    export_graph(Calling(start_other), np.zeros((2, 4), np.float32))
    other.join(10)
    assert waited == [True]
    assert seen == [False]


def test_tracing_waits_for_networks_that_run() -> None:
    guard = TracingGuard()
    order: list[str] = []
    is_running, may_end = Event(), Event()

    def run() -> None:
        with guard.running():
            is_running.set()
            may_end.wait(10)
            order.append("ran")

    def trace() -> None:
        with guard.tracing():
            order.append("traced")

    threads = [Thread(target=run), Thread(target=trace)]
    threads[0].start()
    assert is_running.wait(10)
    threads[1].start()
    threads[1].join(0.1)
    assert order == []
    may_end.set()
    for thread in threads:
        thread.join(10)
    assert order == ["ran", "traced"]


def test_a_failure_while_tracing_lets_networks_run_again() -> None:
    guard = TracingGuard()
    with pytest.raises(RuntimeError, match="cannot be traced"), guard.tracing():
        raise RuntimeError("cannot be traced")
    assert guard.beside(lambda: 3)() == 3


def test_an_interrupt_while_tracing_waits_lets_networks_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = TracingGuard()
    waits: list[bool] = []

    def wait_for(_condition: Condition, _is_so: Callable[[], bool]) -> bool:
        waits.append(True)
        if len(waits) == 2:  # the first is for another that traces
            raise KeyboardInterrupt
        return True

    monkeypatch.setattr(Condition, "wait_for", wait_for)
    with pytest.raises(KeyboardInterrupt), guard.tracing():
        pass
    monkeypatch.undo()
    assert guard.beside(lambda: 3)() == 3
