"""Observations that are no Box, as the one tensor that a policy version carries: their parts, and its space."""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from numpy.typing import NDArray

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.layout import Layout, PartError
from polserve.protos.tensors import DTYPES, EXACT_BITS, dtype_code
from polserve.training.environments.faults import OddValue
from polserve.training.environments.spaces import CARRIED, carried, component_bounds

MOST_BOUNDS = 4096
"""Numbers of an observation in parts whose bounds are stated one by one; an image in a Dict has more."""
_SMALL = {"bool", "uint8", "int8", "int16", "uint16", "float16", "float32"}
"""Dtypes of which float32 holds every number."""


def parts_of(space: gym.Space[Any]) -> list[pb.ObservationPart]:
    """Parts of a space's observations, in the order of the tensor; none for a Box, and where one has no fixed size."""
    if isinstance(space, Box):
        return []
    found = list(_parts(space, ()))
    if not found or not all(found):
        return []
    parts = [part for part in found if part is not None]
    offset = 0
    for part in parts:
        part.offset = offset
        offset += prod(part.shape)
    return parts


def layout_of(space: gym.Space[Any]) -> Layout | None:
    """Layout of a space's observations; None for a Box, and where a part has no fixed size."""
    message = None if isinstance(space, Box) else observation_message(space)
    return None if message is None else Layout.of(message)


def flat_box(space: gym.Space[Any]) -> Box | None:
    """Space of the tensors that a space's observations are laid out in; None where there is no such tensor."""
    if isinstance(space, Box):
        return carried(space) if carried(space).dtype.name in CARRIED and space.low.size else None
    parts = parts_of(space)
    if not parts:
        return None
    dtype = DTYPES[_tensor_dtype(space, parts)]
    leaves = list(_leaves(space))
    low, high = (
        np.concatenate([np.asarray(bounds[side], np.float64).ravel() for bounds in map(_bounds, leaves)])
        for side in (0, 1)
    )
    shape = tuple(space.shape or ()) if not parts[0].path else (len(low),)
    with np.errstate(over="ignore"):
        return Box(low.reshape(shape).astype(dtype), high.reshape(shape).astype(dtype), shape, dtype.type)


def observation_message(space: gym.Space[Any], frames: int = 0) -> pb.ObservationSpec | None:
    """Return what the spec says of a space's observations, without names; None where no policy version can carry them.

    Args:
        space: of one observation, or of a stack of frames where that is a Box.
        frames: length of the stack, or 0.
    """
    box = flat_box(space)
    if box is None:
        return None
    low, high = component_bounds(box)
    return pb.ObservationSpec(
        dtype=dtype_code(box.dtype), shape=box.shape, frames=frames, low=low, high=high, parts=parts_of(space)
    )


def flattened(observation: Any, layout: Layout) -> NDArray[Any]:
    """Observation of an environment as its tensor; raises Fault where it is none of its space."""
    try:
        flat = layout.flatten(observation, _array)
    except PartError as error:
        raise OddValue(f"gave an observation that its space does not allow: {error}") from error
    if flat.shape != layout.shape:
        raise OddValue(f"gave {len(flat)} observations at once; expected one")
    return flat


def unflattened(space: gym.Space[Any], flat: NDArray[Any]) -> Any:
    """Observations of a space from their tensors (n, *shape): as the space nests them, each part (n, *shape)."""
    return _nested(space, flat.reshape(len(flat), -1))[0]


def _nested(space: gym.Space[Any], rows: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
    """Return the part that the first columns hold, and the columns after it."""
    if isinstance(space, Dict):
        nested: dict[str, Any] = {}
        for key, part in space.spaces.items():
            nested[key], rows = _nested(part, rows)
        return nested, rows
    if isinstance(space, Tuple):
        items = []
        for part in space.spaces:
            item, rows = _nested(part, rows)
            items.append(item)
        return tuple(items), rows
    shape = tuple(space.shape or ())
    size = prod(shape)
    return rows[:, :size].reshape(len(rows), *shape).astype(space.dtype), rows[:, size:]


def _leaves(space: gym.Space[Any]) -> Iterator[gym.Space[Any]]:
    if isinstance(space, Dict):
        for part in space.spaces.values():
            yield from _leaves(part)
    elif isinstance(space, Tuple):
        for part in space.spaces:
            yield from _leaves(part)
    else:
        yield space


def _parts(space: gym.Space[Any], path: tuple[str, ...]) -> Iterator[pb.ObservationPart | None]:
    """Yield the parts of a space; None for one that has no fixed size."""
    if isinstance(space, Dict):
        for key, part in space.spaces.items():
            yield from _parts(part, (*path, str(key)))
    elif isinstance(space, Tuple):
        for index, part in enumerate(space.spaces):
            yield from _parts(part, (*path, str(index)))
    else:
        yield _leaf(space, path)


def _leaf(space: gym.Space[Any], path: tuple[str, ...]) -> pb.ObservationPart | None:
    if isinstance(space, Discrete):
        return pb.ObservationPart(
            path=path, kind=pb.PART_KIND_DISCRETE, dtype=pb.INT64, n=[int(space.n)], start=_starts([space.start])
        )
    if isinstance(space, MultiDiscrete):
        return pb.ObservationPart(
            path=path,
            kind=pb.PART_KIND_MULTI_DISCRETE,
            shape=space.shape,
            dtype=pb.INT64,
            n=space.nvec.ravel().tolist(),
            start=_starts(space.start.ravel()),
        )
    if isinstance(space, MultiBinary):
        return pb.ObservationPart(path=path, kind=pb.PART_KIND_MULTI_BINARY, shape=space.shape, dtype=pb.UINT8, n=[2])
    if isinstance(space, Box) and carried(space).dtype.name in CARRIED and space.low.size:
        return pb.ObservationPart(
            path=path, kind=pb.PART_KIND_BOX, shape=space.shape, dtype=dtype_code(carried(space).dtype)
        )
    return None


def _starts(starts: Sequence[Any] | NDArray[Any]) -> list[int]:
    found = [int(start) for start in starts]
    return found if any(found) else []


def _tensor_dtype(space: gym.Space[Any], parts: Sequence[pb.ObservationPart]) -> pb.DataType:
    """Dtype that all parts have, else float32 where it holds every number of each, else float64."""
    dtypes = {part.dtype for part in parts}
    if len(dtypes) == 1:
        return dtypes.pop()
    return pb.FLOAT32 if all(map(_is_small, _leaves(space))) else pb.FLOAT64


def _is_small(space: gym.Space[Any]) -> bool:
    """Whether float32 holds every number of a part."""
    if isinstance(space, Box):
        return space.dtype.name in _SMALL
    low, high = _bounds(space)
    return bool(np.abs(low).max() < 1 << EXACT_BITS and np.abs(high).max() < 1 << EXACT_BITS)


def _bounds(space: gym.Space[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Lowest and highest values of a part."""
    if isinstance(space, Discrete):
        return np.array(space.start), np.array(space.start + space.n - 1)
    if isinstance(space, MultiDiscrete):
        return space.start, space.start + space.nvec - 1
    if isinstance(space, MultiBinary):
        return np.zeros(space.shape), np.ones(space.shape)
    assert isinstance(space, Box)  # noqa: S101 - parts_of refused any other
    return space.low, space.high


def _array(value: object, place: str) -> NDArray[Any]:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise PartError(place, "numbers", type(value).__name__) from error
    if array.dtype.kind not in "biuf":
        raise PartError(place, "numbers", f"{type(value).__name__} of {array.dtype}")
    return array
