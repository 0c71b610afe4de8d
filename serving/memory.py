"""Memory: what the C library holds on to after large work, and how often Python looks for cycles."""

import ctypes
import gc
import sys

COLLECT_AFTER = 10_000
"""Objects made and kept after which Python looks for cycles.

A turn of the loop keeps thousands for as long as it lasts: at Python's own 700, the looking took a seventh of the time
of refusing hundreds of calls at once.
"""


def collect_later() -> None:
    """Have Python look for no cycles while a process imports what it needs, until `collect_again` or `collect_seldom`.

    Modules last as long as the process: to look through them again and again is time for nothing.
    """
    gc.disable()


def collect_again() -> None:
    """Have Python look for cycles among what comes from now on.

    A look at everything that was imported takes tens of milliseconds, in which no call is answered.
    """
    gc.freeze()
    gc.enable()


def collect_seldom() -> None:
    """Have Python look for cycles less often, in a process that does nothing but answer calls."""
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])
    collect_again()


def give_back_memory() -> None:
    """Give the system the memory back that is free, where the C library can be told to: glibc, not musl."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
