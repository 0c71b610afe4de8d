"""How fast one part of training is, apart from the others."""

import contextlib
import time
from collections.abc import Iterator


class Throughput:
    """Things done and the wall time that they took, since the last look."""

    def __init__(self) -> None:
        self._done = 0
        self._seconds = 0.0
        self._rate = 0.0

    @contextlib.contextmanager
    def timing(self) -> Iterator[None]:
        """Count the time of the block."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._seconds += time.perf_counter() - started

    def add(self, done: int) -> None:
        """So many more things are done."""
        self._done += done

    def look(self) -> float:
        """Things per second since the last look, or before it where nothing was timed since; 0 at first."""
        if self._seconds:
            self._rate = self._done / self._seconds
            self._done, self._seconds = 0, 0.0
        return self._rate
