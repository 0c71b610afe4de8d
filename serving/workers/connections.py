"""How many connections each worker has, in memory that all of them share, so that each takes as many."""

import mmap
import os

NOT_LISTENING = 2**64 - 1
"""Count of a worker that takes no connections."""
SLACK = 16
"""With this many connections or more, a worker may have one in so many more than another: taking turns takes time."""


class ConnectionCounts:
    """The counts of n workers; without a file descriptor, in memory that is made for them."""

    def __init__(self, n: int, fd: int | None = None) -> None:
        """Share the memory behind a file descriptor, or make it."""
        self.fd = os.memfd_create("polserve-connections", 0) if fd is None else fd
        size = -(-8 * n // mmap.PAGESIZE) * mmap.PAGESIZE
        if fd is None:
            os.ftruncate(self.fd, size)
        # NOTE: as items of 8 bytes they are read and written whole; sliced as bytes they might be seen half-written.
        self._counts = memoryview(mmap.mmap(self.fd, size)).cast("Q")[:n]
        if fd is None:
            for index in range(n):
                self.leave(index)

    def is_turn_of(self, index: int, n_connections: int) -> bool:
        """Note how many connections a worker has; return whether it is to take one more."""
        self._counts[index] = n_connections
        fewest = min(self._counts)
        return n_connections <= fewest + fewest // SLACK

    def leave(self, index: int) -> None:
        """Note that a worker takes no connections."""
        self._counts[index] = NOT_LISTENING


class WorkerTurns:
    """The turns of one worker."""

    def __init__(self, counts: ConnectionCounts, index: int) -> None:
        self._counts, self._index = counts, index

    def is_ours(self, n_connections: int) -> bool:
        """Note how many connections this worker has; return whether it is to take one more."""
        return self._counts.is_turn_of(self._index, n_connections)

    def leave(self) -> None:
        """Take part no more."""
        self._counts.leave(self._index)
