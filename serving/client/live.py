"""What is live on a service: policies, their versions, and what each takes, answers and earned."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.tensors import DTYPES
from polserve.serving.client.arguments import Version, version_text


@dataclass(frozen=True, slots=True)
class ObservationPart:
    """A part of an observation: a leaf of the environment's Dict or Tuple, or the whole of it."""

    path: tuple[str, ...]
    """Keys from the outermost Dict in, and indices in Tuples; () for the whole."""
    kind: str
    """Gymnasium's name of its space, such as "Discrete"."""
    offset: int
    """Place of its first number in the vector that an observation is laid out in."""
    shape: tuple[int, ...]
    dtype: str
    """The environment's own."""
    n: tuple[int, ...]
    """How many values each of its numbers may take; one for all, or none in a Box."""
    start: tuple[int, ...]
    """The least value of each, likewise; none for 0."""

    @classmethod
    def of(cls, message: pb.ObservationPart) -> "ObservationPart":
        """Return the part that a spec describes."""
        return cls(
            path=tuple(message.path),
            kind=KINDS.get(message.kind, ""),
            offset=message.offset,
            shape=tuple(message.shape),
            dtype=DTYPES[message.dtype].name if message.dtype in DTYPES else "",
            n=tuple(message.n),
            start=tuple(message.start),
        )

    def __str__(self) -> str:
        return f"{'.'.join(self.path)} {self.kind} {self.shape}".strip()


KINDS = {
    pb.PART_KIND_BOX: "Box",
    pb.PART_KIND_DISCRETE: "Discrete",
    pb.PART_KIND_MULTI_DISCRETE: "MultiDiscrete",
    pb.PART_KIND_MULTI_BINARY: "MultiBinary",
}


@dataclass(frozen=True, slots=True)
class ObservationSpace:
    """What one observation of a policy is."""

    dtype: str
    """The policy's own, such as "float32"; the service converts numbers of another where that changes none."""
    shape: tuple[int, ...]
    """Shape of one observation, the stack of frames included."""
    frames: int
    """Length of the stack, the first axis of the shape; 0 where there is none."""
    low: tuple[float, ...]
    """Lowest values: one for each component, one for all, or none."""
    high: tuple[float, ...]
    """Highest values, likewise."""
    is_bounded: bool
    """Whether an observation outside the bounds is refused."""
    names: tuple[str, ...]
    """Names of the components of a flat observation, or none."""
    units: tuple[str, ...]
    """Units of the components, or none."""
    parts: tuple[ObservationPart, ...] = ()
    """What the environment emits, where that is no Box; none where it is."""

    @classmethod
    def of(cls, spec: pb.ObservationSpec) -> "ObservationSpace":
        """Return the observations that a spec describes."""
        return cls(
            dtype=DTYPES[spec.dtype].name if spec.dtype in DTYPES else "",
            shape=tuple(spec.shape),
            frames=spec.frames,
            low=tuple(spec.low),
            high=tuple(spec.high),
            is_bounded=spec.is_bounded,
            names=tuple(component.name for component in spec.components),
            units=tuple(component.unit for component in spec.components),
            parts=tuple(ObservationPart.of(part) for part in spec.parts),
        )

    def __str__(self) -> str:
        parts = f" of {', '.join(map(str, self.parts))}" if self.parts else ""
        return f"{self.dtype or 'any dtype'} {self.shape}{parts}"


@dataclass(frozen=True, slots=True)
class ActionSpace:
    """What an action of a policy is: one of `n` numbers, several choices, or float32 from `low` to `high`."""

    n: int | None
    """The number of actions, `start` to `start + n - 1`; None where they are several choices, or continuous."""
    labels: tuple[str, ...] = ()
    """Names of the n actions, or none."""
    low: tuple[float, ...] = ()
    """Lowest value of each component of a continuous action, in the environment's own units."""
    high: tuple[float, ...] = ()
    """Highest value of each component, likewise."""
    names: tuple[str, ...] = ()
    """Names of the components, or none."""
    units: tuple[str, ...] = ()
    """Units of the components, or none."""
    start: int = 0
    """The least of the n actions."""
    choices: tuple[int, ...] = ()
    """How many values each component of several choices may take, row-major."""
    starts: tuple[int, ...] = ()
    """The least value of each of these components."""
    shape: tuple[int, ...] = ()
    """Shape of one action; () for one of n."""

    @classmethod
    def of(cls, spec: pb.ActionSpec) -> "ActionSpace":
        """Return the actions that a spec describes."""
        if spec.WhichOneof("space") == "discrete":
            return cls(n=spec.discrete.n, labels=tuple(spec.discrete.labels), start=spec.discrete.start)
        if spec.WhichOneof("space") == "multi_discrete":
            several = spec.multi_discrete
            return cls(
                n=None,
                names=tuple(component.name for component in several.components),
                units=tuple(component.unit for component in several.components),
                choices=tuple(several.n),
                starts=tuple(several.start) or (0,) * len(several.n),
                shape=tuple(several.shape) or (len(several.n),),
            )
        space = spec.continuous
        return cls(
            n=None,
            low=tuple(space.low),
            high=tuple(space.high),
            names=tuple(component.name for component in space.components),
            units=tuple(component.unit for component in space.components),
            shape=tuple(space.shape) or ((len(space.low),) if space.low else ()),
        )

    def __str__(self) -> str:
        if self.choices:
            named = f" ({', '.join(self.names)})" if self.names else ""
            return f"int64 {self.shape} of {' x '.join(map(str, self.choices))}{named}"
        if self.n is None:
            return f"float32 {self.shape}" if self.low else "any action"
        return f"{self.n} actions" + (f" ({', '.join(self.labels)})" if self.labels else "")


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
        return f"return {self.mean:.1f} ({low:.1f} to {high:.1f}; random {self.random_mean:.1f})"


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
