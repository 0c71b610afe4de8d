"""Processes that a first process of a container inherits: it becomes the parent of whatever lost its own."""

import os
import threading
import time
from typing import Self

LOOK_S = 5.0
"""Seconds between two looks for those that have ended."""


class OwnChildren:
    """The processes that this one has started itself, whose exit codes somebody waits for.

    Held while one is started, so that it is known before it can end.
    """

    def __init__(self) -> None:
        self.pids: set[int] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()


OWN = OwnChildren()


def let_go_of_adopted() -> None:
    """Keep no zombies of processes that others started, from now on, where this is the first process of a container."""
    if os.getpid() == 1:
        threading.Thread(target=_let_go, name="adopted", daemon=True).start()


def _let_go() -> None:
    while True:
        time.sleep(LOOK_S)
        while _let_go_of_one():
            pass


def _let_go_of_one() -> bool:
    """Take note of a process that has ended and that nobody else waits for; return whether there was one."""
    with OWN:
        try:
            # NOTE: only looked at; with the first of our own in the way, the next look comes soon enough.
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        if ended is None or ended.si_pid in OWN.pids:
            return False
        os.waitpid(ended.si_pid, 0)
        return True
