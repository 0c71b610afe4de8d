"""Policy versions as processes of the service name them to each other: which one, how fast it is, how it fared."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

T = TypeVar("T")

ByAlias: TypeAlias = Mapping[str, Mapping[str, T]]
"""Something for each alias of each policy, by policy and then by alias."""


Batching: TypeAlias = Literal["auto", "on", "off"]
"""Whether observations that wait at the same time go to a model together; auto measures where that pays."""


Outcome: TypeAlias = Literal["live", "refused", "withdrawn"]
"""How a rollout ended; what is withdrawn had been live."""


@dataclass(frozen=True, slots=True)
class VersionRef:
    """A policy version, and where its files are on this machine."""

    policy: str
    version: str
    folder: Path
    sha256: str
    """Checksum of model.onnx as it was registered, hexadecimal; empty where it was registered without one."""
    stamp: str = ""
    """A mark that changes with the files, where that can be seen: a refused version is then tried again."""
    problem: str | None = None
    """Why the source cannot provide the files, in one line; None when it can."""
    withdrawn: str = ""
    """Why the version was withdrawn before this service started, for what it did; empty where it was not, or where its
    alias was moved since."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a version takes on this machine, and whether its calls are answered in batches."""

    alone_s: float
    """Seconds for one observation."""
    in_batch_s: float
    """Seconds for each further observation of a batch."""
    is_batched: bool = False

    def seconds(self, n: int) -> float:
        """Return about how long the version takes for n observations at once."""
        return self.alone_s + (n - 1) * self.in_batch_s


UNMEASURED = Pace(0.0, 0.0)
"""The pace of a version that nobody has timed: it is never batched, nor handed to another thread."""


@dataclass(frozen=True, slots=True)
class AcceptedVersion:
    """A version that the validator accepted, with what it found out."""

    ref: VersionRef
    pace: Pace
    run_id: str
    """The training run that made the version; empty where its spec names none."""


DesiredVersions: TypeAlias = ByAlias[VersionRef]
"""Which version should answer; a policy without an alias should not be live."""
LiveVersions: TypeAlias = ByAlias[AcceptedVersion]
"""Which version answers."""


@dataclass(frozen=True, slots=True)
class RolloutResult:
    """A version that was accepted, refused, or withdrawn, with the reason."""

    policy: str
    version: str
    refusal: str | None = None
    """Why it was refused or withdrawn; None where it was accepted."""
    is_withdrawn: bool = False
    """Whether it had answered calls before."""
    is_final: bool = False
    """Whether it stays withdrawn, also after a new start, until its alias is moved."""
    sha256: str = ""
    """Checksum of its model.onnx, where it was withdrawn."""

    @property
    def outcome(self) -> Outcome:
        """How its rollout ended, in a word."""
        if self.refusal is None:
            return "live"
        return "withdrawn" if self.is_withdrawn else "refused"


@dataclass(frozen=True, slots=True)
class Runaway:
    """A run of a live version that took too much time or memory, and was ended."""

    policy: str
    version: str
    sha256: str
    """Checksum of the version's model.onnx."""
    reason: str


def every(named: ByAlias[T]) -> list[T]:
    """Return everything that any alias of any policy names."""
    return [one for by_alias in named.values() for one in by_alias.values()]
