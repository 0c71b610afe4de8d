"""The constants of a graph: each lies whole in the model, and holds as many numbers as its shape says."""

from collections.abc import Sequence
from math import prod

import numpy as np

from polserve.protos.graphs.limits import GraphRefused
from polserve.protos.polserve.onnx import model_pb2 as pb

_BITS = {
    **dict.fromkeys((2, 3, 9, 17, 18, 19, 20, 24), 8),
    **dict.fromkeys((4, 5, 10, 16), 16),
    **dict.fromkeys((1, 6, 12), 32),
    **dict.fromkeys((7, 11, 13), 64),
    **dict.fromkeys((21, 22, 23), 4),
}
"""Bits of a number, by `data_type`; complex numbers and those that ONNX Runtime lacks are left out."""
_TEXT = 8
_DTYPES = {1: "<f4", 6: "<i4", 7: "<i8", 11: "<f8"}
"""Of the types in which sizes are given."""
_WHOLE = "save the graph in one piece: onnx.save(onnx.load(FILE), FILE, save_as_external_data=False)"
_DAMAGED = "the file is damaged, or was made to mislead; export the policy anew"


def check_constant(tensor: pb.Tensor, name: str) -> None:
    """Return if a constant lies whole in the model.

    Raises:
        GraphRefused: it lies elsewhere, or its shape says other than what is there.
    """
    field = f"constant {name[:100]!r}"
    if tensor.external_data or tensor.data_location:
        where = {entry.key: entry.value for entry in tensor.external_data}.get("location", "")
        raise GraphRefused(field, "its numbers in model.onnx itself", f"a reference to {where[:100]!r}", _WHOLE)
    if tensor.data_type != _TEXT and tensor.data_type not in _BITS:
        raise GraphRefused(field, "numbers or text", f"data_type {tensor.data_type}", "convert it to float32")
    if min(tensor.dims, default=0) < 0:
        raise GraphRefused(field, "a shape without negative extents", _shape(tensor.dims), _DAMAGED)
    declared, held = prod(tensor.dims), _held(tensor)
    if declared != held and not (_BITS.get(tensor.data_type) == 4 and (declared + 1) // 2 * 2 == held):  # noqa: PLR2004
        raise GraphRefused(field, f"the {declared:,} numbers of its shape {_shape(tensor.dims)}", f"{held:,}", _DAMAGED)


def values_of(tensor: pb.Tensor) -> Sequence[float] | None:
    """Numbers of a checked constant of one of the types in which sizes are given; None of any other."""
    dtype = _DTYPES.get(tensor.data_type)
    if dtype is None:
        return None
    if tensor.raw_data:
        return [float(value) for value in np.frombuffer(tensor.raw_data, dtype)[:MOST_AXES]]
    given = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data)
    return [float(value) for values in given for value in values[:MOST_AXES]]


MOST_AXES = 1024
"""Numbers of a size that are looked at: no tensor has as many axes."""


def _held(tensor: pb.Tensor) -> int:
    """Count the numbers that are there."""
    if tensor.data_type == _TEXT:
        return len(tensor.string_data)
    bits = _BITS[tensor.data_type]
    n_bytes = len(tensor.raw_data)  # asked for once, as each time it is copied
    if n_bytes:
        return n_bytes * 8 // bits if n_bytes * 8 % bits == 0 else -1
    given = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data, tensor.uint64_data)
    return max(len(values) for values in given) * (2 if bits == 4 else 1)  # noqa: PLR2004 - two numbers of four bits share one place


def _shape(dims: Sequence[int]) -> str:
    return str(list(dims))[:100]
