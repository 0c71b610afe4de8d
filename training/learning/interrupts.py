"""Ctrl-C as a request: the first one asks to end cleanly, the second one insists."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from polserve.training.learning.collector import ChooseActions


class Interrupted(Exception):
    """The user asked to stop, in the middle of what gives nothing before its end."""


def interruptible(choose_actions: ChooseActions, should_stop: Callable[[], bool]) -> ChooseActions:
    """Policy that acts as the given one, and raises Interrupted in place of an action once `should_stop` says so."""

    def choose(observations: NDArray[Any]) -> NDArray[Any]:
        if should_stop():
            raise Interrupted
        return choose_actions(observations)

    return choose


@contextlib.contextmanager
def ctrl_c() -> Iterator[Callable[[], bool]]:
    """Flag that the first Ctrl-C raises, for a function that another program calls.

    It stays down in another thread than the main one, and where the program answers Ctrl-C itself.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        with InterruptFlag(signal.SIGINT) as is_interrupted:
            yield is_interrupted
    else:
        yield lambda: False


class InterruptFlag:
    """Flag that, as a context manager, catches the first of some signals; calling it tells whether one came."""

    def __init__(self, *numbers: int) -> None:
        """Catch the signals of these numbers; SIGINT and SIGTERM where none is given."""
        self._numbers = numbers or (signal.SIGINT, signal.SIGTERM)
        self._is_raised = False

    def __call__(self) -> bool:
        """Whether the user asked to stop."""
        return self._is_raised

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in self._numbers}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self._is_raised:
            raise KeyboardInterrupt
        self._is_raised = True
        sys.stderr.write("\nstopping: saving what was learned; again to abort\n")
