"""When a worker that ended is started again, and when all of them have failed too often to go on."""

import signal
import threading
from dataclasses import dataclass

FIRST_DELAY_S = 0.5
"""Seconds before a worker that failed is started again; twice as long after each further failure in a row."""
LONGEST_DELAY_S = 10.0
STEADY_S = 30.0
"""Seconds for which a worker must have answered, so that its end is no failure to start."""
MOST_FAILURES = 5
"""Failures in a row of every worker after which the service gives up."""
FROM_OUTSIDE = (-signal.SIGKILL, -signal.SIGTERM)
"""Exit codes of workers that somebody else ended."""


@dataclass(frozen=True, slots=True)
class WorkerEnd:
    """How a worker ended."""

    exit_code: int
    answered_s: float | None
    """Seconds for which it answered calls; None where it had not begun to."""
    was_silent: bool = False
    """Whether it was killed because it gave no sign of life."""

    @property
    def is_failure(self) -> bool:
        """Whether the next one is likely to end in the same way.

        A worker that has begun to answer and is then killed by somebody else, such as an operator or the system that is
        short of memory, has shown that it can start.
        """
        if self.answered_s is None:
            return True
        is_ended_by_others = self.exit_code in FROM_OUTSIDE and not self.was_silent
        return self.answered_s < STEADY_S and not is_ended_by_others


class Restarts:
    """Failures in a row of each of n workers; for any thread."""

    def __init__(self, n: int) -> None:
        self._failures = [0] * n
        self._lock = threading.Lock()

    def delay_s(self, index: int, end: WorkerEnd | None) -> float:
        """Note how a worker ended, None where none could be started; return the seconds before the next one is."""
        with self._lock:
            self._failures[index] = self._failures[index] + 1 if end is None or end.is_failure else 0
            n = self._failures[index]
        return min(FIRST_DELAY_S * 2.0 ** (n - 1), LONGEST_DELAY_S) if n else 0.0

    @property
    def is_hopeless(self) -> bool:
        """Whether every worker has failed so often in a row that more tries would only hide it."""
        return min(self._failures) >= MOST_FAILURES
