"""Observations as a user gives them, made into the batch that a policy version's graph takes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.layout import Layout, PartError
from polserve.protos.tensors import DTYPES, TensorError, cast
from polserve.training.errors import InvalidOption

WHOLE = "observation"


def batch_of(contract: pb.ObservationSpec, observation: Any) -> tuple[NDArray[Any], bool]:
    """Return observations (n, *shape) in the dtype of the `contract`, and whether one was given and no batch.

    Args:
        contract: what the spec says of observations.
        observation: an array (*shape) or (n, *shape), or where the environment's space is a Dict or a Tuple, a mapping
            or a tuple of its parts.

    Raises:
        InvalidOption: the observation is of another shape, or holds values that the dtype cannot.
    """
    shape = tuple(contract.shape)
    try:
        array = cast(_laid_out(Layout.of(contract), observation), DTYPES[contract.dtype])
    except PartError as error:
        raise InvalidOption(str(error)) from error
    except TensorError as error:
        raise InvalidOption(f"{WHOLE}: expected {error.expected}, got {error.got}") from error
    if array.shape != shape and array.shape[1:] != shape:
        raise InvalidOption(f"{WHOLE}: expected shape {shape}, or {len(shape) + 1} axes, got {array.shape}")
    return array.reshape(-1, *shape), array.shape == shape


def _laid_out(layout: Layout | None, observation: Any) -> NDArray[Any]:
    """Return the observation as one array of numbers."""
    if layout is not None and layout.is_composite and (isinstance(observation, Mapping) or _is_in_parts(observation)):
        return layout.flatten(observation, _numbers, WHOLE)
    if isinstance(observation, Mapping):
        raise PartError(WHOLE, "an array: observations of this policy have no keys", str(sorted(map(str, observation))))
    return _numbers(observation, WHOLE)


def _is_in_parts(observation: object) -> bool:
    """Whether it is a tuple of more than numbers."""
    return isinstance(observation, tuple) and any(
        isinstance(item, (Mapping, list, tuple)) or getattr(item, "ndim", 0) for item in observation
    )


def _numbers(given: object, place: str) -> NDArray[Any]:
    try:
        array = np.asarray(given)
    except ValueError as error:  # rows of different lengths
        raise PartError(place, "numbers in an array", str(error)) from error
    if array.dtype.kind not in "biuf":
        raise PartError(place, "numbers", str(array.dtype))
    return array
