"""Between `Tensor` messages and numpy arrays, for both ends of the wire."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polserve.protos.polserve.v1 import policy_pb2 as pb

DTYPES: dict[pb.DataType, np.dtype[Any]] = {
    pb.FLOAT32: np.dtype("<f4"),
    pb.FLOAT64: np.dtype("<f8"),
    pb.UINT8: np.dtype("u1"),
    pb.INT32: np.dtype("<i4"),
    pb.INT64: np.dtype("<i8"),
    pb.BOOL: np.dtype("?"),
}
"""The numpy type of each DataType on the wire."""

MOST_AXES = 32
EXACT_BITS = 24
"""Whole numbers of so many bits are float32 without rounding."""

CODES: dict[np.dtype[Any], pb.DataType] = {dtype: code for code, dtype in DTYPES.items()}


class TensorError(ValueError):
    """A Tensor says something that no array can be: `field` of it was expected otherwise."""

    def __init__(self, field: str, expected: str, got: str) -> None:
        super().__init__(f"{field}: expected {expected}, got {got}")
        self.field = field
        self.expected = expected
        self.got = got


def dtype_code(dtype: np.dtype[Any]) -> pb.DataType:
    """Return the DataType of a numpy type.

    Raises:
        TensorError: the wire cannot carry it.
    """
    code = CODES.get(dtype)
    if code is None and dtype.itemsize > 1:
        code = CODES.get(dtype.newbyteorder("<"))
    if code is None:
        raise TensorError("dtype", " or ".join(str(known) for known in CODES), str(dtype))
    return code


def to_tensor(array: NDArray[Any], *, as_values: bool = False) -> pb.Tensor:
    """Return the message that holds `array`; with `as_values` in the form for people.

    Raises:
        TensorError: the wire cannot carry its dtype.
    """
    tensor = pb.Tensor()
    fill_tensor(tensor, array, as_values=as_values)
    return tensor


def fill_tensor(tensor: pb.Tensor, array: NDArray[Any], *, as_values: bool = False) -> None:
    """Put `array` into an empty message, such as a field of another one, which would copy a message that it is given.

    Raises:
        TensorError: the wire cannot carry its dtype.
    """
    code = CODES.get(array.dtype)
    if code is None:
        code = dtype_code(array.dtype)
        array = array.astype(DTYPES[code])
    tensor.dtype = code
    tensor.shape.extend(array.shape)
    if as_values:
        tensor.values.extend(array.astype(np.float32).ravel())
    else:
        tensor.data = array.tobytes()


def to_array(
    tensor: pb.Tensor, dtype: np.dtype[Any] | None = None, shape: Sequence[int] = (), data: bytes | None = None
) -> NDArray[Any]:
    """Return the array that `tensor` holds; read-only where it shares the message's bytes.

    Args:
        tensor: in either form.
        dtype: taken by the form with `values` where the tensor names none.
        shape: of one item; the form with `values` and without a shape holds one item, or a batch of as many as fill it.
        data: the tensor's own, where the caller has looked at it: each look at the field is a copy of it.

    Raises:
        TensorError: dtype, shape and contents disagree.
    """
    if len(tensor.shape) > MOST_AXES:  # before they are copied: a message has room for millions
        raise TensorError("shape", f"at most {MOST_AXES} axes", f"{len(tensor.shape)}")
    given_shape = tuple(tensor.shape)
    if given_shape and min(given_shape) < 0:
        raise TensorError("shape", "extents of at least 0", str(given_shape))
    data = tensor.data if data is None else data
    if data or not tensor.values:
        if not data and not tensor.dtype:
            raise TensorError("data", "data, or values", "an empty tensor")
        return _from_data(tensor.dtype, given_shape, data)
    return _from_values(tensor, dtype, tuple(shape))


def _from_data(code: pb.DataType, shape: tuple[int, ...], data: bytes) -> NDArray[Any]:
    dtype = DTYPES.get(code)
    if dtype is None:
        raise TensorError("dtype", "one of " + ", ".join(pb.DataType.Name(known) for known in DTYPES), str(code))
    expected = prod(shape) * dtype.itemsize
    if len(data) != expected:
        wanted = f"{expected} bytes for {pb.DataType.Name(code)} {shape}"
        raise TensorError("data", wanted, f"{len(data)} bytes")
    try:
        return np.ndarray(shape, dtype, data)
    except ValueError as error:
        raise TensorError("shape", "one that an array can have", str(shape)) from error


def _from_values(tensor: pb.Tensor, dtype: np.dtype[Any] | None, shape: tuple[int, ...]) -> NDArray[Any]:
    wanted = DTYPES.get(tensor.dtype, dtype)
    if wanted is None:
        raise TensorError("dtype", "one of " + ", ".join(pb.DataType.Name(code) for code in DTYPES), str(tensor.dtype))
    n, size = len(tensor.values), prod(shape)
    if tensor.shape:
        shape = tuple(tensor.shape)
    elif n != size and size and n % size == 0:
        shape = (n // size, *shape)
    if n != prod(shape):
        raise TensorError("values", f"{prod(shape)} values for the shape {shape}", f"{n} values")
    given = np.fromiter(tensor.values, np.float32, n)  # NOTE: np.array would make a list of Python floats first
    if wanted.itemsize * 8 > EXACT_BITS and wanted != np.float32:
        _check_exact(given)
    return _shaped(cast(given, wanted), shape)


def _shaped(array: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
    try:
        return array.reshape(tuple(shape))
    except ValueError as error:
        raise TensorError("shape", "one that an array can have", str(tuple(shape))) from error


def cast(given: NDArray[Any], wanted: np.dtype[Any]) -> NDArray[Any]:
    """Return the numbers of one dtype in another, where that changes none; floats are rounded to the nearest.

    Raises:
        TensorError: a number would become another, or infinite.
    """
    if given.dtype == wanted:
        return given
    with np.errstate(over="ignore", invalid="ignore"):
        found = given.astype(wanted)
        if wanted.kind == "f":
            expected = f"numbers that {wanted.name} holds"
            is_float = given.dtype.kind == "f"
            is_bad = np.isinf(found) & np.isfinite(given) if is_float else _is_rounded(given, wanted)
        else:
            low, high = (0, 1) if wanted.kind == "b" else (int(np.iinfo(wanted).min), int(np.iinfo(wanted).max))
            expected = f"whole numbers from {low} to {high}"
            # NOTE: NaN fails every comparison; as floats, high + 1 is exact where high is not.
            is_bad = ~((given >= low) & (given < high + 1) & (found == given))
    if is_bad.any():
        index = tuple(int(i) for i in np.unravel_index(np.asarray(is_bad).argmax(), given.shape))
        raise TensorError("values", expected, f"{given[index]} at {list(index)}")
    return found


def _is_rounded(whole: NDArray[Any], floats: np.dtype[Any]) -> NDArray[np.bool_]:
    """Which whole numbers have more significant bits than the floats."""
    size = np.where(whole < 0, 0 - whole.astype(np.uint64), whole.astype(np.uint64))  # of int64's least number, too
    lowest_bit = np.maximum(size & (0 - size), 1)
    return np.asarray(size // lowest_bit >= 1 << (np.finfo(floats).nmant + 1))


def _check_exact(given: NDArray[np.float32]) -> None:
    """Raise where a float32 may have been another number before it was one."""
    is_large = np.abs(given) >= 1 << EXACT_BITS
    if is_large.any():
        index = int(is_large.argmax())
        expected = f"numbers below 2^{EXACT_BITS}, since this form rounds to float32; send larger ones as data"
        raise TensorError("values", expected, f"{given[index]:.0f} at [{index}]")
