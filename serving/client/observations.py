"""Observations as a person holds them, and the tensors that carry them: numbers are never rounded here."""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.tensors import CODES, TensorError, cast, fill_tensor
from polserve.serving.client.errors import InvalidArgument, described

Observation: TypeAlias = ArrayLike | Mapping[str, Any] | tuple[Any, ...]
"""One observation or a batch: an array; or a mapping or a tuple of its parts, as the environment nests them."""
Observations: TypeAlias = Observation | Iterable[Observation]
"""Several observations: an array (n, *shape), or one by one; or a mapping or a tuple whose parts hold n each."""

_WIDER = {
    "float16": np.float32,
    "int8": np.int32,
    "int16": np.int32,
    "uint16": np.int32,
    "uint32": np.int64,
    "uint64": np.int64,
}
"""What carries a dtype that the wire does not know."""

_REAL = "real numbers of at most 64 bits"
_MOST_BYTES = 8
_PLAIN = {float, int, bool}
"""Types of which a list needs no closer look."""
_MOST_DEPTH = 64
"""Deepest nesting of lists, as numpy takes them; a list may hold itself."""
_INT64_BITS = 63
_FLOAT64_BITS = 53


def observation_tensor(observation: ArrayLike, argument: str = "observation") -> pb.Tensor:
    """Return the message that holds an observation, as `fill_observation` does."""
    tensor = pb.Tensor()
    fill_observation(tensor, observation, argument)
    return tensor


def fill_observation(tensor: pb.Tensor, observation: ArrayLike, argument: str = "observation") -> None:
    """Put the numbers as they are into an empty message; the service converts them where that changes none.

    Args:
        tensor: takes them; left incomplete where an error is raised.
        observation: numbers of any real dtype and layout: an array, nested lists or tuples of equal lengths, or what
            numpy makes an array of, such as a tensor of torch on the CPU.
        argument: that an error names.

    Raises:
        InvalidArgument: they are no numbers, of no one shape, or more than any dtype of the wire holds.
    """
    if type(observation) is np.ndarray and observation.dtype in CODES:  # what nearly everybody passes
        fill_tensor(tensor, observation)
        return
    given = numbers(observation, argument)
    carried = given.dtype if given.dtype.newbyteorder("<") in CODES else _WIDER[given.dtype.name]
    try:
        fill_tensor(tensor, cast(given, np.dtype(carried)))
    except TensorError as error:
        raise InvalidArgument(argument, error.expected, error.got) from error


def batch_of(observations: Observations) -> NDArray[Any]:
    """Observations (n, *shape) in one array, from an array or from several arrays (*shape).

    Raises:
        InvalidArgument: they are no numbers, none at all, or of different shapes.
    """
    argument = "observations"
    if hasattr(observations, "__array__") or isinstance(observations, (bytearray, memoryview)):
        batch = numbers(observations, argument)
        if batch.ndim == 0:
            raise InvalidArgument(argument, "an array (n, *shape), or several arrays", "a single number")
        return batch
    if isinstance(observations, (str, bytes, Mapping, AbstractSet)) or not isinstance(observations, Iterable):
        raise InvalidArgument(argument, "an array (n, *shape), or several arrays", described(observations))
    arrays = [numbers(one, argument) for one in observations]
    if len({array.dtype for array in arrays}) > 1:  # stacked, a whole number might be rounded
        arrays = [_as_floats(array) for array in arrays]
    shapes = list(dict.fromkeys(array.shape for array in arrays))
    if len(shapes) != 1:
        raise InvalidArgument(argument, "at least one, all of one shape", ", ".join(map(str, shapes)) or "none")
    return np.stack(arrays)


def numbers(observation: object, argument: str) -> NDArray[Any]:
    """Return an observation, or a part of one, as an array of numbers, none of them rounded; raises InvalidArgument."""
    if type(observation) is not np.ndarray and _hides_numbers(observation):
        raise InvalidArgument(argument, "a number in every place", "a masked array that hides some")
    given = _array(observation, argument)
    if given.dtype == object:
        given = _unboxed(given, argument)
    if given.dtype.kind not in "fiub" or given.dtype.itemsize > _MOST_BYTES:
        raise InvalidArgument(argument, _REAL, f"{given.dtype} {given.shape}")
    if not isinstance(observation, np.ndarray):
        _check_mixed(observation, given, argument)
    return given


def _array(observation: object, argument: str) -> NDArray[Any]:
    """Return what numpy makes of an observation; raises InvalidArgument."""
    if type(observation) is np.ndarray:
        return observation
    try:
        return np.asarray(observation)
    except (ValueError, RecursionError) as error:
        expected = "numbers in lists of equal lengths"
        raise InvalidArgument(argument, expected, f"{type(observation).__name__} ({_first_line(error)})") from error
    except Exception as error:  # whatever the `__array__` of a foreign type raises
        raise InvalidArgument(argument, _REAL, f"{type(observation).__name__} ({_first_line(error)})") from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _hides_numbers(observation: object) -> bool:
    """Whether a masked array, at the top or in lists, hides a number; numpy would take what is under the mask."""
    pending: list[tuple[object, int]] = [(observation, 0)]
    while pending:
        item, depth = pending.pop()
        if isinstance(item, np.ma.MaskedArray):
            if np.ma.is_masked(item):
                return True
        elif isinstance(item, (list, tuple)) and depth < _MOST_DEPTH and not _PLAIN.issuperset(map(type, item)):
            pending.extend((inner, depth + 1) for inner in item if type(inner) not in _PLAIN)
    return False


def _unboxed(given: NDArray[Any], argument: str) -> NDArray[Any]:
    """Return the numbers of an array of Python objects; raises InvalidArgument where one is none."""
    items = given.ravel().tolist()
    odd = [item for item in items if not isinstance(item, (int, float, np.number, np.bool_))]
    if odd:
        raise InvalidArgument(argument, _REAL, type(odd[0]).__name__)
    for item in items:
        if isinstance(item, int) and not -(1 << _INT64_BITS) <= item < 1 << _INT64_BITS:
            shown = f"{str(item)[:30]}; write a float, such as 1e30"
            raise InvalidArgument(argument, "whole numbers below 2^63 in size", shown)
    return numbers(items, argument).reshape(given.shape)


def _check_mixed(observation: object, given: NDArray[Any], argument: str) -> None:
    """Raise InvalidArgument where a whole number was rounded because it stood beside floats."""
    if given.dtype != np.float64 or not (np.abs(given) >= 1 << _FLOAT64_BITS).any():
        return  # numpy makes a smaller float only of what it holds exactly
    for item in _leaves(np.asarray(observation, object)):
        if isinstance(item, int) and int(float(item)) != item:
            raise InvalidArgument(argument, "numbers that float64 holds beside its floats", str(item))


def _leaves(boxes: NDArray[Any]) -> Iterator[object]:
    """Return the numbers in an array of Python objects, as Python's own."""
    for item in boxes.ravel():
        yield item.item() if isinstance(item, (np.generic, np.ndarray)) else item


def _as_floats(array: NDArray[Any]) -> NDArray[np.float64]:
    """Return the numbers as float64, where that holds them; raises InvalidArgument."""
    try:
        return cast(array, np.dtype(np.float64))
    except TensorError as error:
        raise InvalidArgument("observations", f"{error.expected} beside floats", error.got) from error
