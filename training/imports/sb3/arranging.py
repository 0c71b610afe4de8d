"""How the environment's observation becomes the one that an SB3 policy takes: stacked, channels first, scaled."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from polserve.training.errors import ImportRefused

AXES_OF_IMAGE = 3
LARGEST_BYTE = 255


@dataclass(frozen=True, slots=True)
class Arrangement:
    """The order in which a policy takes the numbers of an observation."""

    frames: int
    """Length of the frame stack, the first axis of the observation; 0 for none."""
    order: tuple[int, ...]
    """Axes of the observation, the stack included, in the order in which the policy's shape lays them out."""
    shape: tuple[int, ...]
    """The policy's own shape."""

    @property
    def is_plain(self) -> bool:
        """Whether the observation is taken as it is."""
        return not self.frames and self.order == tuple(range(len(self.order)))

    def apply(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Observations (n, *raw) as (n, *shape)."""
        return observations.transpose(0, *(axis + 1 for axis in self.order)).reshape(-1, *self.shape)


def arrange(file: str, raw: Sequence[int], shape: Sequence[int]) -> Arrangement:
    """Find how an environment's observation of shape `raw` becomes one of the policy's `shape`.

    VecTransposeImage puts the channels of an image first, and VecFrameStack lays frames side by side: along the
    channels of an image, else along the last axis.

    Raises:
        ImportRefused: no way is known.
    """
    raw, shape = tuple(raw), tuple(shape)
    n = len(raw)
    for order in dict.fromkeys((tuple(range(n)), _channels_first(n))):
        if tuple(raw[axis] for axis in order) == shape:
            return Arrangement(0, order, shape)
    frames = prod(shape) // max(prod(raw), 1)
    if frames > 1 and frames * prod(raw) == prod(shape):
        for order in _stacked_orders(n):
            laid = tuple((frames, *raw)[axis] for axis in order)
            if _merges(laid, shape):
                return Arrangement(frames, order, shape)
    raise ImportRefused(
        f"{file}: the policy takes observations of shape {shape}, and the environment's are of shape {raw}; expected "
        "the same, an image whose channels are put first, or frames to be stacked; name the environment with its "
        "wrappers, such as WarpFrame"
    )


def _channels_first(n: int) -> tuple[int, ...]:
    return (2, 0, 1) if n == AXES_OF_IMAGE else tuple(range(n))


def _stacked_orders(n: int) -> list[tuple[int, ...]]:
    """Orders of the stack's axis and the frame's `n` axes: by channels last, then by channels first or none."""
    if n == AXES_OF_IMAGE:
        return [(0, 3, 1, 2), (0, 1, 2, 3)]
    return [tuple(range(n + 1)), (*range(1, n), 0, n)]


def _merges(laid: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether an array of extents `laid`, two neighbours of which are joined, is of this shape."""
    return any((*laid[:i], laid[i] * laid[i + 1], *laid[i + 2 :]) == shape for i in range(len(laid) - 1)) or (
        laid == shape
    )


def is_image(space: gym.Space[Any]) -> bool:
    """Whether SB3 takes a space for one of images, which it divides by 255."""
    return (
        isinstance(space, Box)
        and len(space.shape) == AXES_OF_IMAGE
        and space.dtype == np.uint8
        and bool((space.low == 0).all() and (space.high == LARGEST_BYTE).all())
    )


def stacked(space: Box, frames: int) -> Box:
    """Space of `frames` observations, one after another; the space itself for none."""
    if not frames:
        return space
    low, high = (np.repeat(bound[None], frames, axis=0) for bound in (space.low, space.high))
    return Box(low, high, (frames, *space.shape), space.dtype.type)
