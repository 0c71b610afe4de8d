"""Spaces of a live version: what it takes for an observation, and what it answers."""

from dataclasses import dataclass

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.tensors import DTYPES


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
