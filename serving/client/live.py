"""What is live on a service: policies, their versions, and what each takes, answers and earned."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.figures import figure
from polserve.serving.client.arguments import Version, version_text
from polserve.serving.client.spaces import ActionSpace, ObservationSpace


@dataclass(frozen=True, slots=True)
class EvaluationSummary:
    """Returns of a version's episodes in evaluation."""

    episodes: int
    mean: float
    iqm: float
    """Interquartile mean."""
    interval: tuple[float, float]
    """Bootstrap interval of the mean."""
    confidence: float
    """Confidence of the interval, such as 0.95."""
    random_mean: float
    """Mean return of the uniformly random policy."""

    @classmethod
    def of(cls, message: pb.Evaluation) -> "EvaluationSummary":
        """Return the summary that a spec holds."""
        return cls(
            episodes=message.episodes,
            mean=message.mean,
            iqm=message.iqm,
            interval=(message.interval_low, message.interval_high),
            confidence=message.confidence,
            random_mean=message.random_mean,
        )

    def __str__(self) -> str:
        low, high = self.interval
        return f"return {figure(self.mean)} ({figure(low)} to {figure(high)}; random {figure(self.random_mean)})"


@dataclass(frozen=True, slots=True)
class Allocator:
    """What an allocator of budgets takes."""

    channels: tuple[str, ...]
    currency: str
    """Code of the currency, by ISO 4217."""
    history_days: int
    """Days of past spend that it reads, for each channel."""
    max_horizon_days: int

    @classmethod
    def of(cls, message: pb.AllocationSpec) -> "Allocator":
        """Return the allocator that a spec describes."""
        return cls(
            channels=tuple(message.channels),
            currency=message.currency,
            history_days=message.history_days,
            max_horizon_days=message.max_horizon_days,
        )


@dataclass(frozen=True, slots=True, repr=False)
class LiveVersion:
    """A version that answers, and what its spec says."""

    version: str
    algorithm: str
    environment: str
    """Gymnasium id of the environment that it was trained in; "" where there is none."""
    observation: ObservationSpace
    action: ActionSpace
    evaluation: EvaluationSummary | None
    """None where nobody evaluated it."""
    allocation: Allocator | None
    """None where it allocates no budgets."""
    sha256: str
    """Checksum of model.onnx, hexadecimal."""
    message: pb.LiveVersion = field(compare=False)
    """The protobuf message, with the whole spec."""

    @classmethod
    def of(cls, message: pb.LiveVersion) -> "LiveVersion":
        """Return the version that a message describes."""
        spec = message.spec
        return cls(
            version=message.version,
            algorithm=spec.algorithm,
            environment=spec.environment.id,
            observation=ObservationSpace.of(spec.observation),
            action=ActionSpace.of(spec.action),
            evaluation=EvaluationSummary.of(spec.evaluation) if spec.evaluation.episodes else None,
            allocation=Allocator.of(spec.allocation) if spec.HasField("allocation") else None,
            sha256=message.sha256,
            message=message,
        )

    @property
    def client_wrappers(self) -> tuple[str, ...]:
        """Wrappers of the environment that callers apply to an observation before they send it, from the innermost."""
        return tuple(self.message.spec.environment.client_wrappers)

    @property
    def client_action_wrappers(self) -> tuple[str, ...]:
        """Wrappers of the environment that callers apply to the action that is answered."""
        return tuple(self.message.spec.environment.client_action_wrappers)

    def __repr__(self) -> str:
        return f"<version {self.version}: {self.described()}>"

    def described(self) -> str:
        """Return a line about it: the environment, what it takes and answers, and what it earned."""
        parts = [self.environment, f"{self.observation} -> {self.action}", str(self.evaluation or "not evaluated")]
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True, repr=False)
class LivePolicy:
    """A policy that is live: its versions and aliases."""

    name: str
    versions: tuple[LiveVersion, ...]
    """Live versions, the oldest first."""
    aliases: Mapping[str, str]
    """The version that each alias names."""
    default: str
    """The version that answers where a call names none; "" where none does."""
    message: pb.LivePolicy = field(compare=False)
    """The protobuf message."""

    @classmethod
    def of(cls, message: pb.LivePolicy) -> "LivePolicy":
        """Return the policy that a message describes."""
        return cls(
            name=message.name,
            versions=tuple(LiveVersion.of(version) for version in message.versions),
            aliases=dict(message.aliases),
            default=message.default_version,
            message=message,
        )

    def live_version(self, version: Version = "") -> LiveVersion | None:
        """Return the version that answers to `version`, as in a call; None where none does.

        Raises:
            InvalidArgument: `version` is no version.
        """
        asked = version_text(version)
        number = self.aliases.get(asked[1:], "") if asked.startswith("@") else asked or self.default
        return next((live for live in self.versions if live.version == number), None)

    def aliases_of(self, version: LiveVersion) -> list[str]:
        """Aliases that name a version, each with its @."""
        return [f"@{alias}" for alias, number in sorted(self.aliases.items()) if number == version.version]

    def __repr__(self) -> str:
        versions = ", ".join(" ".join([live.version, *self.aliases_of(live)]) for live in self.versions)
        default = self.live_version() or next(iter(self.versions), None)
        about = f": {default.described()}" if default else ""
        return f"<policy {self.name}, versions {versions or 'none'}{about}>"

    def _repr_html_(self) -> str:
        head = ("version", "aliases", "environment", "observation", "action", "return")
        return _table(head, [self._row(live) for live in self.versions])

    def _row(self, live: LiveVersion) -> tuple[str, ...]:
        """Return the cells of a version's line in the table."""
        name, aliases = f"{self.name}/{live.version}", " ".join(self.aliases_of(live))
        earned = "" if live.evaluation is None else str(live.evaluation).removeprefix("return ")
        return (name, aliases, live.environment, str(live.observation), str(live.action), earned)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(tag: str, cells: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return f"<table>{line('th', head)}{''.join(line('td', row) for row in rows)}</table>"
