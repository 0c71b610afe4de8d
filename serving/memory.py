"""Memory that the C library holds on to after large work."""

import ctypes
import sys


def give_back_memory() -> None:
    """Give the system the memory back that is free, where the C library can be told to: glibc, not musl."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
