"""Observations in parts: how a Dict, a Tuple or whole numbers become the one tensor of the spec.

The numbers of the tensor are those that the environment emits, in the order of the spec's parts. Nothing is encoded on
the way: what a network makes of a category is in the graph.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.tensors import DTYPES, TensorError, cast

ToArray: TypeAlias = Callable[[object, str], NDArray[Any]]
"""Makes an array of what stands in the place of a part, which the text names."""
Ints: TypeAlias = NDArray[np.int64]

WHOLE = "observation"
MOST_NAMED = 8
"""Keys that an error lists."""


class PartError(ValueError):
    """What stands in the place of a part is none: `part` names it, as in observation['position']."""

    def __init__(self, part: str, expected: str, got: str) -> None:
        super().__init__(f"{part}: expected {expected}, got {got}")
        self.part = part
        self.expected = expected
        self.got = got


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A part of an observation: the whole, or a leaf of a Dict or a Tuple."""

    path: tuple[str, ...]
    """Keys from the outermost in; () for the whole."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    """The environment's own dtype."""
    offset: int
    """Place of its first number in the vector."""
    n: Ints | None  # (size,)
    """How many values each number may take; None where it is no category."""
    start: Ints | None  # (size,)
    """The least value of each number, likewise."""

    @property
    def size(self) -> int:
        """Count of its numbers."""
        return prod(self.shape)

    @property
    def name(self) -> str:
        """Its keys with dots between them."""
        return ".".join(self.path)

    @property
    def place_and_form(self) -> tuple[object, ...]:
        """What decides how it is laid out."""
        return self.path, self.offset, self.shape, self.dtype

    def place(self, index: int) -> str:
        """Name the number at `index` of the part, as in position[1]."""
        if not self.shape:
            return self.name
        return f"{self.name}[{', '.join(str(int(i)) for i in np.unravel_index(index, self.shape))}]"


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The parts of an observation, and the tensor that they are laid out in."""

    parts: tuple[Part, ...]
    shape: tuple[int, ...]
    """Shape of the tensor of one observation; of one frame, where there is a stack of them."""
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, spec: pb.ObservationSpec) -> "Layout | None":
        """Return the layout that a spec states; None where observations are one tensor anyway.

        Raises:
            ValueError: its parts do not fill its tensor.
        """
        if not spec.parts:
            return None
        shape = tuple(spec.shape)[1:] if spec.frames else tuple(spec.shape)
        parts = tuple(_part(message) for message in spec.parts)
        end = 0
        for part in parts:
            if part.offset != end:
                raise ValueError(f"observation.parts: expected {part.name!r} at {end}, got {part.offset}")
            end += part.size
        if end != prod(shape):
            raise ValueError(f"observation.parts: expected {prod(shape)} numbers, as in the shape {shape}, got {end}")
        return cls(parts, shape, DTYPES[spec.dtype])

    @property
    def is_composite(self) -> bool:
        """Whether the observation is a Dict or a Tuple."""
        return any(part.path for part in self.parts)

    @property
    def is_tuple(self) -> bool:
        """Whether the observation is a Tuple."""
        keys = list(dict.fromkeys(part.path[0] for part in self.parts if part.path))
        return bool(keys) and _is_tuple(keys)

    def is_like(self, other: "Layout") -> bool:
        """Whether observations are laid out in the same way."""
        ours, theirs = ([part.place_and_form for part in layout.parts] for layout in (self, other))
        return (self.dtype, self.shape, ours) == (other.dtype, other.shape, theirs)

    @property
    def categories(self) -> tuple[Ints, Ints]:
        """How many values each number of the tensor may take, 0 for one that is no category, and the least of them."""
        n = [np.zeros(part.size, np.int64) if part.n is None else part.n for part in self.parts]
        start = [np.zeros(part.size, np.int64) if part.start is None else part.start for part in self.parts]
        return np.concatenate(n), np.concatenate(start)

    def place(self, index: int) -> str:
        """Name the number at `index` of the tensor by its part; "" where the observation has no named parts."""
        part = next(part for part in reversed(self.parts) if part.offset <= index)
        return part.place(index - part.offset) if part.path else ""

    def flatten(self, observation: object, to_array: ToArray, whole: str = WHOLE) -> NDArray[Any]:
        """Lay an observation out, or a batch of them, in whose parts a first axis counts them.

        Args:
            observation: a mapping of keys, or a tuple or list for a Tuple; nested as the environment nests them.
            to_array: makes an array of numbers of what stands in the place of a part.
            whole: what the observation is called in errors.

        Returns:
            (*shape) or (n, *shape), of the layout's dtype.

        Raises:
            PartError: it is none; the error names the key.
        """
        found = [self._numbers(part, value, place, to_array) for part, value, place in self._leaves(observation, whole)]
        counts = {array.shape[0] if array.ndim > len(part.shape) else None for part, array in found}
        if len(counts) > 1:
            shown = ", ".join("one" if count is None else str(count) for count in sorted(counts, key=str))
            raise PartError(whole, "as many observations in every part", shown)
        (count,) = counts
        rows = [array.reshape(1 if count is None else count, part.size) for part, array in found]
        flat = np.concatenate(rows, axis=1) if len(rows) > 1 else rows[0]
        return flat.reshape(self.shape if count is None else (count, *self.shape))

    def _leaves(self, observation: object, whole: str) -> list[tuple[Part, object, str]]:
        """Find what stands in the place of each part, and what that place is called."""
        places: dict[tuple[str, ...], tuple[object, str]] = {(): (observation, whole)}
        for path, keys in self._groups():
            given, place = places[path]
            for key, value in zip(keys, _children(given, keys, place), strict=True):
                places[*path, key] = value, f"{place}[{key}]" if _is_tuple(keys) else f"{place}[{key!r}]"
        return [(part, *places[part.path]) for part in self.parts]

    def _groups(self) -> list[tuple[tuple[str, ...], list[str]]]:
        """Every Dict and Tuple by its path, with its keys, the outer before the inner."""
        groups: dict[tuple[str, ...], dict[str, None]] = {}
        for part in self.parts:
            for depth, key in enumerate(part.path):
                groups.setdefault(part.path[:depth], {})[key] = None
        return [(path, list(keys)) for path, keys in sorted(groups.items(), key=lambda item: len(item[0]))]

    def _numbers(self, part: Part, value: object, place: str, to_array: ToArray) -> tuple[Part, NDArray[Any]]:
        """Return the numbers of a part, in the tensor's dtype."""
        array = to_array(value, place)
        n_axes = len(part.shape)
        if array.ndim not in (n_axes, n_axes + 1) or array.shape[array.ndim - n_axes :] != part.shape:
            expected = f"{part.dtype.name} {part.shape}"
            raise PartError(place, expected, f"{array.dtype.name} {array.shape}")
        try:
            array = cast(array, part.dtype)
            _check_categories(part, array, place)
            return part, cast(array, self.dtype)
        except TensorError as error:
            raise PartError(place, error.expected, error.got) from error


def _check_categories(part: Part, array: NDArray[Any], place: str) -> None:
    """Raise PartError where a number is none of the values that it may take."""
    if part.n is None or part.start is None:
        return
    n, start = part.n.reshape(part.shape), part.start.reshape(part.shape)
    is_bad = (array < start) | (array >= start + n)
    if is_bad.any():
        index = tuple(int(i) for i in np.unravel_index(is_bad.argmax(), array.shape))
        low = np.broadcast_to(start, array.shape)[index]
        high = low + np.broadcast_to(n, array.shape)[index] - 1
        where = f" at {list(index)}" if index else ""
        raise PartError(place, f"whole numbers from {low} to {high}", f"{array[index]}{where}")


def _children(given: object, keys: Sequence[str], place: str) -> Iterator[object]:
    """Return what stands under each key; raises PartError where a key is missing, or there is another."""
    if isinstance(given, Mapping):
        named = {str(key): value for key, value in given.items()}
        if named.keys() != set(keys):
            raise PartError(place, f"the keys {_listed(keys)}", _listed(list(named)))
        return (named[key] for key in keys)
    if _is_tuple(keys):
        if not isinstance(given, (tuple, list)) or len(given) != len(keys):
            got = f"{len(given)}" if isinstance(given, (tuple, list)) else type(given).__name__
            raise PartError(place, f"a tuple of {len(keys)} parts", got)
        return iter(given)
    raise PartError(place, f"a mapping with the keys {_listed(keys)}", type(given).__name__)


def _is_tuple(keys: Sequence[str]) -> bool:
    return list(keys) == [str(index) for index in range(len(keys))]


def _listed(keys: Sequence[str]) -> str:
    shown = ", ".join(repr(key) for key in keys[:MOST_NAMED])
    return shown + ", ..." if len(keys) > MOST_NAMED else shown or "none"


def _part(message: pb.ObservationPart) -> Part:
    shape, path = tuple(message.shape), tuple(message.path)
    size, name = prod(shape), ".".join(message.path) or WHOLE
    if message.dtype not in DTYPES:
        raise ValueError(f"observation.parts: {name!r} has the dtype {message.dtype}, which is none of the known types")
    dtype = DTYPES[message.dtype]
    if message.kind == pb.PART_KIND_BOX:
        return Part(path, shape, dtype, message.offset, None, None)
    if message.kind not in pb.PartKind.values() or message.kind == pb.PART_KIND_UNSPECIFIED:
        raise ValueError(f"observation.parts: {name!r} is of the kind {message.kind}, which is not known")
    n, start = (_each(values, size, name) for values in (message.n or [2], message.start or [0]))
    if size and n.min() < 1:
        raise ValueError(f"observation.parts: {name!r} has a number that may take {n.min()} values, expected 1 or more")
    return Part(path, shape, dtype, message.offset, n, start)


def _each(values: Sequence[int], size: int, name: str) -> Ints:
    if len(values) not in (1, size):
        raise ValueError(f"observation.parts: {name!r} has {size} numbers, and {len(values)} of n or start")
    return np.broadcast_to(np.array(values, np.int64), (size,)).copy()
