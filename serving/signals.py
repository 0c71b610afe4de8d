"""Waiting for the signals that end a process."""

import os
import signal
from types import FrameType


class EndSignals:
    """SIGTERM and SIGINT, from now on; made in the main thread.

    NOTE: a handler that sets an Event can deadlock with a main thread that is just about to wait for it, and is not run
    at all while that thread sleeps, where the kernel gives the signal to another one. Python writes to the wake-up
    descriptor in either case.
    """

    def __init__(self) -> None:
        self._read_end, write_end = os.pipe()
        os.set_blocking(write_end, False)
        signal.set_wakeup_fd(write_end)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _nothing)

    def wait(self) -> None:
        """Return when one has come; in any thread."""
        os.read(self._read_end, 1)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """The wake-up descriptor says it all; without a handler the signal would end the process."""
