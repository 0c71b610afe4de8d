"""What became of the versions that were tried since the service started."""

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from polserve.serving.versions import RolloutResult

KEPT = 50
"""Results that are kept; older ones are in the log."""


@dataclass(frozen=True, slots=True)
class TriedVersion:
    """A version that was tried, and how its rollout ended."""

    policy: str
    version: str
    outcome: str
    """"live", "refused" or "withdrawn"."""
    at: str
    """The moment of the result, in UTC, ISO 8601."""
    reason: str
    """Why it was refused or withdrawn; empty where it was not."""


class RolloutLog:
    """The latest results of rollouts, for people to read; one thread writes, any number read."""

    def __init__(self) -> None:
        self._tried: deque[TriedVersion] = deque(maxlen=KEPT)

    def note(self, results: Iterable[RolloutResult]) -> None:
        """Add results, as of now."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        for result in results:
            tried = TriedVersion(result.policy, result.version, result.outcome, at, result.refusal or "")
            self._tried.append(tried)

    def latest(self) -> list[TriedVersion]:
        """Return the results that are kept, oldest first."""
        return list(self._tried)
