"""The epoch: the number of the state that answers, seen at once by every process that shares it."""

import mmap
import os


class LocalEpoch:
    """The epoch of a single process."""

    def __init__(self) -> None:
        self._number = 0

    def read(self) -> int:
        """Return the number of the state that answers now."""
        return self._number

    def write(self, number: int) -> None:
        """Make `read` give this number from now on."""
        self._number = number


class SharedEpoch:
    """An epoch in memory that processes share: what the supervisor writes, each worker reads with its next call."""

    def __init__(self, fd: int | None = None) -> None:
        """Share the memory behind a file descriptor, or make it."""
        self.fd = os.memfd_create("polserve-epoch", 0) if fd is None else fd
        if fd is None:
            os.ftruncate(self.fd, mmap.PAGESIZE)
        # NOTE: as one item of 8 bytes it is read and written whole; sliced as bytes it might be seen half-written.
        self._number = memoryview(mmap.mmap(self.fd, mmap.PAGESIZE)).cast("Q")

    def read(self) -> int:
        """Return the number of the state that answers now."""
        return self._number[0]

    def write(self, number: int) -> None:
        """Make `read` give this number from now on, in every process."""
        self._number[0] = number
