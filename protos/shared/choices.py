"""The whole numbers that an action may be: one choice, or several at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from polserve.protos.polserve.v1 import policy_pb2 as pb

Ints: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Choices:
    """Values that each component of an action may take."""

    n: Ints  # (k,)
    """The number of values of each component, row-major."""
    start: Ints  # (k,)
    """The least value of each component."""
    shape: tuple[int, ...]
    """Shape of one action; () for a single choice."""

    @classmethod
    def of(cls, spec: pb.ActionSpec) -> "Choices | None":
        """Return the choices that a spec states; None where its actions are continuous.

        Raises:
            ValueError: no action can be what it states.
        """
        match spec.WhichOneof("space"):
            case "discrete":
                return cls._checked("discrete", [spec.discrete.n], [spec.discrete.start], ())
            case "multi_discrete":
                space = spec.multi_discrete
                shape = tuple(space.shape) or (len(space.n),)
                return cls._checked("multi_discrete", space.n, space.start or [0] * len(space.n), shape)
            case _:
                return None

    @classmethod
    def _checked(cls, kind: str, n: Sequence[int], start: Sequence[int], shape: tuple[int, ...]) -> "Choices":
        if not n or min(n) < 1:
            raise ValueError(f"action.{kind}.n: expected numbers of values of at least 1, got {list(n)}")
        if len(start) != len(n) or prod(shape) != len(n):
            got = f"{len(start)} starts and the shape {shape}"
            raise ValueError(f"action.{kind}: expected a start for each of {len(n)} components in n, got {got}")
        return cls(np.array(n, np.int64), np.array(start, np.int64), shape)

    # NOTE: in quotes, numpy.random is not imported for the annotation; the validator draws nothing.
    def draw(self, rng: "np.random.Generator", size: int) -> Ints:
        """Draw actions (size, *shape) uniformly."""
        drawn = rng.integers(self.start, self.start + self.n, size=(size, len(self.n)))
        return drawn.reshape(size, *self.shape)

    def are_actions(self, actions: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of actions (size, *shape) are among the choices, (size,)."""
        flat = self.indices(actions)
        return np.asarray(((flat >= 0) & (flat < self.n)).all(axis=1))

    def indices(self, actions: NDArray[Any]) -> Ints:
        """Return the number of each component's value, from 0 on, of actions (size, *shape): (size, k)."""
        return np.asarray(actions.reshape(len(actions), len(self.n)) - self.start, np.int64)
