"""Between `Tensor` messages and numpy arrays, for both ends of the wire."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protos.polserve.v1 import policy_pb2 as pb

DTYPES: dict[pb.DataType, np.dtype[Any]] = {
    pb.FLOAT32: np.dtype("<f4"),
    pb.FLOAT64: np.dtype("<f8"),
    pb.UINT8: np.dtype("u1"),
    pb.INT32: np.dtype("<i4"),
    pb.INT64: np.dtype("<i8"),
    pb.BOOL: np.dtype("?"),
}
"""The numpy type of each DataType on the wire."""

CODES: dict[np.dtype[Any], pb.DataType] = {dtype: code for code, dtype in DTYPES.items()}


class TensorError(ValueError):
    """A Tensor says something that no array can be: `field` of it was expected otherwise."""

    def __init__(self, field: str, expected: str, got: str) -> None:
        super().__init__(f"{field}: expected {expected}, got {got}")
        self.field = field
        self.expected = expected
        self.got = got


def dtype_code(dtype: np.dtype[Any]) -> pb.DataType:
    """The DataType of a numpy type.

    Raises:
        TensorError: the wire cannot carry it.
    """
    code = CODES.get(dtype.newbyteorder("<") if dtype.itemsize > 1 else dtype)
    if code is None:
        raise TensorError("dtype", " or ".join(str(known) for known in CODES), str(dtype))
    return code


def to_tensor(array: NDArray[Any], *, as_values: bool = False) -> pb.Tensor:
    """The message that holds `array`; with `as_values` in the form for people.

    Raises:
        TensorError: the wire cannot carry its dtype.
    """
    code = dtype_code(array.dtype)
    if as_values:
        return pb.Tensor(dtype=code, shape=array.shape, values=array.astype(np.float32).ravel())
    return pb.Tensor(dtype=code, shape=array.shape, data=array.astype(DTYPES[code], copy=False).tobytes())


def to_array(tensor: pb.Tensor, dtype: np.dtype[Any] | None = None, shape: Sequence[int] = ()) -> NDArray[Any]:
    """The array that `tensor` holds; read-only where it shares the message's bytes.

    Args:
        tensor: in either form.
        dtype: taken by the form with `values` where the tensor names none.
        shape: of one item; the form with `values` and without a shape holds one item, or a batch of as many as fill it.

    Raises:
        TensorError: dtype, shape and contents disagree.
    """
    given_shape = tuple(tensor.shape)
    if given_shape and min(given_shape) < 0:
        raise TensorError("shape", "extents of at least 0", str(given_shape))
    data = tensor.data  # NOTE: each look at the field is a copy of it
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
    return _shaped(np.frombuffer(data, dtype), shape)


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
    given = np.array(tensor.values, np.float32)
    if not np.issubdtype(wanted, np.floating):
        _check_integers(given, wanted)
    return _shaped(given.astype(wanted), shape)


def _shaped(array: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
    try:
        return array.reshape(tuple(shape))
    except ValueError as error:
        raise TensorError("shape", "one that an array can have", str(tuple(shape))) from error


def _check_integers(given: NDArray[np.float32], wanted: np.dtype[Any]) -> None:
    """Raise where a value is no number of the type `wanted`."""
    low, high = (0, 1) if wanted == np.bool_ else (np.iinfo(wanted).min, np.iinfo(wanted).max)
    # NOTE: in float64, so that the bounds of int32 are exact; NaN fails every comparison.
    exact = given.astype(np.float64)
    is_bad = ~((exact == np.floor(exact)) & (exact >= low) & (exact <= high))
    if is_bad.any():
        index = int(np.flatnonzero(is_bad)[0])
        raise TensorError("values", f"whole numbers from {low} to {high}", f"values[{index}] = {given[index]}")
