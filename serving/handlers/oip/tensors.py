"""Tensors of the Open Inference Protocol, and the arrays that they are. Functions without a transport.

Numbers are row-major and little-endian. What is refused is refused by InvalidRequest, which names the tensor.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from polserve.protos.polserve.oip.v2 import inference_pb2 as pb
from polserve.protos.tensors import CODES, MOST_AXES, TensorError, cast
from polserve.serving.errors import InvalidRequest
from polserve.serving.handlers.oip.wire import packed

Shape: TypeAlias = tuple[int, ...]

DATATYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
"""The numpy type of each datatype that is taken."""

NAMES: dict[np.dtype[Any], str] = {dtype: name for name, dtype in DATATYPES.items()}

TENSOR_CODES: dict[str, int] = {name: int(CODES[dtype]) for name, dtype in DATATYPES.items() if dtype in CODES}
"""The dtype in `Tensor` of each datatype that has one."""

REMEDIES = {
    "FP16": "send FP32",
    "BF16": "send FP32",
    "BYTES": "observations are numbers: send them as such",
}
"""What to do instead of sending a datatype that the protocol knows and no policy takes."""

CONTENTS: dict[str, str] = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}
"""The field of InferTensorContents that holds the numbers of a datatype."""

FLOATS = {"FP32": (6, 4), "FP64": (7, 8)}
"""Number of the field of InferTensorContents, and bytes of a number."""

_FIELD_TYPES = {
    "bool_contents": np.dtype(np.bool_),
    "int_contents": np.dtype(np.int32),
    "int64_contents": np.dtype(np.int64),
    "uint_contents": np.dtype(np.uint32),
    "uint64_contents": np.dtype(np.uint64),
    "fp32_contents": np.dtype(np.float32),
    "fp64_contents": np.dtype(np.float64),
}


def dtype_of(name: str, datatype: str) -> np.dtype[Any]:
    """Return the numpy type of an input's datatype.

    Raises:
        InvalidRequest: no policy takes it.
    """
    dtype = DATATYPES.get(datatype)
    if dtype is None:
        remedy = f" ({REMEDIES[datatype]})" if datatype in REMEDIES else ""
        raise InvalidRequest(f"inputs[{name!r}].datatype", "one of " + ", ".join(DATATYPES), f"{datatype!r}{remedy}")
    return dtype


def shape_of(name: str, shape: Sequence[int]) -> Shape:
    """Return the shape of an input.

    Raises:
        InvalidRequest: no array has it.
    """
    if len(shape) > MOST_AXES:  # before they are copied: a message has room for millions
        raise InvalidRequest(f"inputs[{name!r}].shape", f"at most {MOST_AXES} axes", str(len(shape)))
    found = tuple(shape)
    if found and min(found) < 0:
        raise InvalidRequest(f"inputs[{name!r}].shape", "extents of at least 0", str(list(found)))
    return found


def read_tensor(tensor: pb.ModelInferRequest.InferInputTensor, raw: bytes | None) -> NDArray[Any]:
    """Return the array that an input is; read-only where it shares the bytes.

    Args:
        tensor: the input.
        raw: its entry of `raw_input_contents`; None where its numbers are in `contents`.

    Raises:
        InvalidRequest: datatype, shape and contents disagree.
    """
    dtype, shape = dtype_of(tensor.name, tensor.datatype), shape_of(tensor.name, tensor.shape)
    if raw is None:
        flat = read_contents(tensor.name, tensor.datatype, tensor.contents)
        if len(flat) != prod(shape):
            field = f"inputs[{tensor.name!r}].contents"
            expected = f"{prod(shape)} values for the shape {list(shape)}"
            got = f"{len(flat)} in {CONTENTS[tensor.datatype]}"
            raise InvalidRequest(field, expected, got)
    else:
        check_size(tensor.name, tensor.datatype, shape, len(raw))
        flat = np.frombuffer(raw, dtype)
    return _shaped(tensor.name, flat, shape)


def check_size(name: str, datatype: str, shape: Shape, n_bytes: int) -> None:
    """Return if raw contents have as many bytes as their datatype and shape say.

    Raises:
        InvalidRequest: they have not.
    """
    expected = prod(shape) * DATATYPES[datatype].itemsize
    if n_bytes != expected:
        wanted = f"{expected} bytes for {datatype} {list(shape)}"
        raise InvalidRequest(f"raw_input_contents of {name!r}", wanted, f"{n_bytes} bytes")


def read_contents(name: str, datatype: str, contents: pb.InferTensorContents) -> NDArray[Any]:
    """Return the numbers (n,) of typed contents.

    Raises:
        InvalidRequest: another field than the datatype's holds numbers, or the datatype does not hold one.
    """
    wanted = CONTENTS[datatype]
    for field, _ in contents.ListFields():
        if field.name != wanted:
            raise InvalidRequest(f"inputs[{name!r}].contents", f"{wanted} for {datatype}", field.name)
    values = getattr(contents, wanted)
    flat = np.fromiter(values, _FIELD_TYPES[wanted], len(values))
    return _cast(name, flat, DATATYPES[datatype])


def pack_contents(tensor: pb.ModelInferRequest.InferInputTensor) -> bytes:
    """Return the numbers of typed contents as raw ones; raises InvalidRequest as `read_contents` does."""
    datatype, contents = tensor.datatype, tensor.contents
    if datatype in FLOATS:  # whose numbers stand in the serialised message as they are
        field, size = FLOATS[datatype]
        n = len(contents.fp32_contents if datatype == "FP32" else contents.fp64_contents)
        if n and (numbers := packed(contents.SerializeToString(), field, n * size)) is not None:
            return numbers
    return read_contents(tensor.name, datatype, contents).tobytes()


def _cast(name: str, flat: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        return cast(flat, dtype)
    except TensorError as error:
        raise InvalidRequest(f"inputs[{name!r}].{error.field}", error.expected, error.got) from error


def _shaped(name: str, flat: NDArray[Any], shape: Shape) -> NDArray[Any]:
    try:
        return flat.reshape(shape)
    except ValueError as error:
        raise InvalidRequest(f"inputs[{name!r}].shape", "one that an array can have", str(list(shape))) from error
