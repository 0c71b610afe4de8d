"""The signals that end a process, and how to wait for them."""

import contextlib
import os
import select
import signal
from types import FrameType


class EndSignals:
    """SIGTERM and SIGINT, caught from now on; made in the main thread.

    NOTE: a handler that sets an Event can deadlock with a main thread that is just about to wait for it, and is not run
    at all while that thread sleeps, where the kernel gives the signal to another one. Python writes to the wake-up
    descriptor in either case.
    """

    def __init__(self) -> None:
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._write_end, False)
        signal.set_wakeup_fd(self._write_end)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _nothing)

    def end(self) -> None:
        """Let `wait` return as if a signal had come; for any thread."""
        with contextlib.suppress(BlockingIOError):  # so many have come that it returns anyway
            os.write(self._write_end, b"\0")

    def has_come(self) -> bool:
        """Return whether `wait` would return at once."""
        return bool(select.select([self._read_end], [], [], 0)[0])

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait in any thread until one has come, at most so long; whether one has."""
        has_come = bool(select.select([self._read_end], [], [], timeout_s)[0])
        if has_come:
            os.read(self._read_end, 1)
        return has_come


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the wake-up descriptor tells of the signal, which would end the process without a handler."""
