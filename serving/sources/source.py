"""What the service asks of a source of policy versions, and tells it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from polserve.serving.processes.encoding import Message
from polserve.serving.versions import ByAlias, DesiredVersions, RolloutResult


@dataclass(frozen=True, slots=True)
class RegistryStatus:
    """Whether the registry answered when it was last asked, and what is wrong."""

    is_up: bool
    last_success: float | None
    """Unix time of the last success; None before the first."""
    error: str
    """Why it is not up, or what is wrong with single policies, in one line; empty if nothing is."""
    is_asked: bool = True
    """Whether it was asked at all; not where there is no place to keep what it would tell."""

    @property
    def event(self) -> str:
        """What the log calls it."""
        if not self.is_asked:
            return "cache_unusable"
        if not self.is_up:
            return "registry_down"
        return "registry_problem" if self.error else "registry_up"


class HistoryState(StrEnum):
    """How much is known of a policy's past."""

    NONE = "none"
    """The source keeps no record of it."""
    ASKED = "asked"
    """The registry was asked, and has not answered yet."""
    KNOWN = "known"


@dataclass(frozen=True, slots=True)
class PolicyHistory:
    """What a source knows of a policy's past."""

    state: HistoryState
    record: Message = field(default_factory=dict)
    """The moves of @champion, the decisions and the rollouts, as JSON (`polserve.serving.sources.history`)."""
    problem: str = ""
    """Why it is not the latest, in one line; empty where it is."""


class Source(Protocol):
    """Where the service learns which versions should be live: a folder, or an MLflow registry."""

    def follow(self) -> Iterator[DesiredVersions]:
        """Yield what is desired, now and at every change; end after `close`."""

    def desired_at_once(self) -> DesiredVersions:
        """Return what will be desired first, where that is known without waiting; nothing of a registry."""

    def registry(self) -> RegistryStatus | None:
        """Return the registry's state; None for a source without one, and before its first answer."""

    def ignored(self) -> Sequence[str]:
        """Return what was found and is not followed, each in a line with what was expected."""

    def history(self, policy: str) -> PolicyHistory:
        """Return what is known of a live policy's past, at once; what a registry keeps of it is asked for meanwhile."""

    def tell(self, results: Sequence[RolloutResult], live: ByAlias[str]) -> None:
        """Take note of how versions fared, and of which version is live now."""

    def close(self) -> None:
        """Stop following, so that `follow` ends."""
