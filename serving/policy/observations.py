"""What an observation must be before a policy sees it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.layout import Layout
from polserve.protos.shared.names import SPEC_KEY
from polserve.protos.tensors import CODES, DTYPES, TensorError, cast
from polserve.serving.errors import InvalidRequest, RolloutRefused

PART_ROWS = 1024
"""Observations that are worked on at once, at most: what ONNX Runtime takes beside them grows with their number."""
PART_BYTES = 2 * 2**20
"""Bytes that are worked on at once, at most; a single observation always is."""
FEW = 8192
"""Numbers up to which their sum of squares says sooner than a look at each whether all are finite."""


@dataclass(frozen=True, slots=True)
class ObservationContract:
    """What an observation must be, compiled from the spec."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    low: NDArray[np.float64] | None
    """Lowest values, broadcast to the shape; None where the bounds are not hard."""
    high: NDArray[np.float64] | None
    layout: Layout | None = None
    """The parts of an observation, or of one frame of it; None where it is one tensor anyway."""
    categories: "Categories | None" = None
    """Numbers that stand for one of several values; None where there are none."""
    frames: int = 0
    """Length of the stack of frames that an observation is; 0 where it is none."""

    code: pb.DataType = field(init=False)
    """The dtype on the wire."""
    n_bytes: int = field(init=False)
    """Size of one observation."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "code", CODES[self.dtype])
        object.__setattr__(self, "n_bytes", prod(self.shape) * self.dtype.itemsize)

    @classmethod
    def of(cls, spec: pb.ObservationSpec) -> "ObservationContract":
        """Compile the contract that a spec states.

        Raises:
            RolloutRefused: the bounds do not fit the shape, or there is no dtype.
        """
        shape = tuple(spec.shape)
        if spec.dtype not in DTYPES:
            raise RolloutRefused(f"{SPEC_KEY}: observation.dtype is {spec.dtype}, which is none of the known types")
        low, high = (_bound(name, values, shape) for name, values in (("low", spec.low), ("high", spec.high)))
        if not spec.is_bounded:
            low = high = None
        layout = _layout(spec)
        return cls(DTYPES[spec.dtype], shape, low, high, layout, Categories.of(layout, shape), spec.frames)

    def of_frame(self) -> "ObservationContract":
        """Return the contract of one frame, where the first axis of the shape is a stack of them."""
        low, high = (bound if bound is None else bound[-1] for bound in (self.low, self.high))
        shape = self.shape[1:]
        return ObservationContract(self.dtype, shape, low, high, self.layout, Categories.of(self.layout, shape))

    def check(self, observation: NDArray[Any]) -> NDArray[Any]:
        """Return observations as a batch (n, *shape) of the policy's dtype, n at least 1, finite and within bounds.

        Numbers of another dtype are taken where the policy's holds them: floats are rounded to the nearest.

        Raises:
            InvalidRequest: they are not.
        """
        if observation.shape[-len(self.shape) or observation.ndim :] != self.shape or observation.ndim not in (
            len(self.shape),
            len(self.shape) + 1,
        ):
            expected = f"{self.shape} or {('N', *self.shape)}".replace("'", "")
            raise InvalidRequest("observation.shape", expected, f"{observation.shape}{self._advice(observation)}")
        if observation.shape[0:1] == (0,):
            raise InvalidRequest("observation.shape", "at least one observation", str(observation.shape))
        try:
            observation = cast(observation, self.dtype)
        except TensorError as error:
            raise InvalidRequest("observation", error.expected, error.got) from error
        batch = observation.reshape(-1, *self.shape)
        self.check_rows(batch, is_batch=observation.ndim > len(self.shape))
        return batch

    def _advice(self, observation: NDArray[Any]) -> str:
        """Say what to do with single frames, where an observation is a stack of them; "" where they are none."""
        frame = self.shape[1:]
        if not self.frames or observation.shape[-len(frame) or observation.ndim :] != frame:
            return ""
        return (
            f"; an observation is a stack of {self.frames} frames: send the stack, or single frames in an episode, in "
            "which the service keeps those before (Episode, or sequence_id of the Open Inference Protocol)"
        )

    def check_rows(self, batch: NDArray[Any], *, is_batch: bool = True) -> None:
        """Return if the values of a batch (n, *shape) of the policy's dtype are finite and within bounds.

        Args:
            batch: n is at least 1.
            is_batch: whether the client sent it as one; else it has no number for its single observation.

        Raises:
            InvalidRequest: they are not.
        """
        if is_one_part(batch):
            self._check_values(batch, 0 if is_batch else None)
            return
        for part in cut_into_parts(batch):
            self._check_values(batch[part], part.start if is_batch else None)

    def _check_values(self, rows: NDArray[Any], first: int | None) -> None:
        """Raise InvalidRequest where a value may not be; `first` is the number of the first row in a batch."""
        if rows.dtype.kind == "f" and not are_finite(rows):
            index = _first(~np.isfinite(rows))
            raise InvalidRequest("observation", "finite numbers", f"{rows[index]} at {self._place(index, first)}")
        if self.categories is not None:
            self._check_categories(rows, self.categories, first)
        if self.low is None or self.high is None:
            return
        is_outside = (rows < self.low) | (rows > self.high)
        if is_outside.any():
            index = _first(is_outside)
            bounds = f"{self.low[index[1:]]} to {self.high[index[1:]]}"
            raise InvalidRequest(
                "observation", f"values within {bounds}", f"{rows[index]} at {self._place(index, first)}"
            )

    def _check_categories(self, rows: NDArray[Any], categories: "Categories", first: int | None) -> None:
        """Raise InvalidRequest where a number is none of the values that it may take."""
        chosen = rows.reshape(len(rows), -1)[:, categories.columns]
        # NOTE: a float between two whole numbers is no value either.
        is_bad = (chosen < categories.low) | (chosen > categories.high) | (chosen != np.rint(chosen))
        if is_bad.any():
            row, column = _first(is_bad)
            at = np.unravel_index(categories.columns[column], self.shape) if self.shape else ()
            bounds = f"{categories.low[column]} to {categories.high[column]}"
            where = self._place((row, *(int(i) for i in at)), first)
            raise InvalidRequest("observation", f"whole numbers from {bounds}", f"{chosen[row, column]} at {where}")

    def _place(self, index: tuple[int, ...], first: int | None) -> str:
        """Say where the client has the value at `index` of some rows: in its one observation, or in its batch."""
        place = str([*index[1:]] if first is None else [first + index[0], *index[1:]])
        if self.layout is None:
            return place
        flat = int(np.ravel_multi_index(index[1:], self.shape)) if self.shape else 0
        name = self.layout.place(flat % prod(self.layout.shape))
        return f"{place}, which is {name}" if name else place


@dataclass(frozen=True, slots=True)
class Categories:
    """Numbers of an observation that stand for one of several values."""

    columns: NDArray[np.int64]
    """Places of them in a flat observation."""
    low: NDArray[np.int64]
    high: NDArray[np.int64]

    @classmethod
    def of(cls, layout: Layout | None, shape: tuple[int, ...]) -> "Categories | None":
        """Return those of observations of a shape, which is the layout's or a stack of it; None without any."""
        if layout is None or not layout.categories[0].any():
            return None
        n, start = (np.tile(each, prod(shape) // prod(layout.shape)) for each in layout.categories)
        columns = np.flatnonzero(n)
        return cls(columns, start[columns], (start + n - 1)[columns])


def _layout(spec: pb.ObservationSpec) -> Layout | None:
    try:
        return Layout.of(spec)
    except ValueError as error:
        raise RolloutRefused(f"{SPEC_KEY}: {error}") from error


def is_one_part(rows: NDArray[Any]) -> bool:
    """Whether all of the rows may be worked on at once."""
    return len(rows) <= PART_ROWS and rows.nbytes <= PART_BYTES


def cut_into_parts(rows: NDArray[Any]) -> Sequence[slice]:
    """Cut rows into parts that take a bounded amount of memory to work on."""
    n = len(rows)
    size = max(1, min(PART_ROWS, PART_BYTES // max(1, rows[:1].nbytes)))
    return [slice(start, start + size) for start in range(0, n, size)]


def are_finite(rows: NDArray[Any]) -> bool:
    """Whether all numbers are finite."""
    # NOTE: vdot warns of nothing, and the squares of finite numbers may be too large for a sum: then each is looked at.
    return (rows.size <= FEW and math.isfinite(np.vdot(rows, rows))) or bool(np.isfinite(rows).all())


def _first(is_bad: NDArray[np.bool_]) -> tuple[int, ...]:
    """Return the index of the first value that is true."""
    return tuple(int(i) for i in np.unravel_index(is_bad.argmax(), is_bad.shape))


def _bound(name: str, values: Any, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    if not values:
        return None
    if len(values) not in (1, prod(shape)):
        raise RolloutRefused(f"{SPEC_KEY}: observation.{name} has {len(values)} values, expected 1 or {prod(shape)}")
    bound = np.asarray(values, np.float64)
    return np.broadcast_to(bound[0], shape) if len(values) == 1 else bound.reshape(shape)
