"""What a source of policy versions tells the service, and what it is told back."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class VersionRef:
    """A policy version on this machine's disk that should be live."""

    policy: str
    version: str
    folder: Path
    sha256: str
    """Of model.onnx, as registered, hexadecimal."""
    stamp: str = ""
    """Another when the files were changed, where that can be told: a refused version is then tried again."""
    problem: str = ""
    """Why the source cannot provide the files; one line, empty when it can."""


Desired: TypeAlias = Mapping[str, Mapping[str, VersionRef]]
"""By policy name and alias, which version should answer; a policy without an alias should not be live."""


@dataclass(frozen=True, slots=True)
class RegistryStatus:
    """How the registry did when it was last asked."""

    is_up: bool
    last_success: float | None
    """Unix time; None before the first."""
    error: str
    """One line: why it is not up, or what is wrong with single policies; empty if nothing is."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of loading and proving a version; `reason` says why it is refused, and is empty if it is good."""

    reason: str
    run_id: str = ""
    """The run that made it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the rollout of a version ended; `reason` is empty when it went live."""

    policy: str
    version: str
    reason: str


class Source(Protocol):
    """Where the wish for live versions comes from."""

    def follow(self) -> Iterator[Desired]:
        """What is desired, now and at every change; ends after `close`."""

    def registry(self) -> RegistryStatus | None:
        """The registry's state; None for a source without one, and before its first answer."""

    def ignored(self) -> Sequence[str]:
        """What was found and is not followed, each in a line with what was expected."""

    def tell(self, verdicts: Sequence[Verdict], live: Mapping[str, Mapping[str, str]]) -> None:
        """Take note of how versions fared, and of what is live now: by policy and alias, the version."""

    def close(self) -> None:
        """Stop following; `follow` ends."""
