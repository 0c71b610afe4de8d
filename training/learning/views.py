"""How a network takes an observation: as a vector of numbers, or as an image, whose axes come in several orders."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Self

import numpy as np
from gymnasium.spaces import Box
from torch import Tensor, nn

from polserve.training.learning import pictures
from polserve.training.learning.pictures import HIGHEST_PIXEL, IMAGE, LEAST_SIDE, Channels

LARGEST_SIDE = 128
"""Pixels of the largest side that convolutions see; larger images are shrunk to it, by means of blocks of pixels."""
DARK = 25
"""Number up to which a small image of pixels is probably none of light, but of kinds or counts, as of a grid world."""
LARGEST_SIDE_OF_SMALL = 64
"""The same where the shorter side is too short for the usual convolutions: the small ones cost more for each pixel."""


@dataclass(frozen=True, slots=True)
class View:
    """What of an observation is known to a network."""

    shape: tuple[int, ...]
    highest: float | None = None
    """What numbers are divided by, the highest that the space allows; None where they are taken as they are."""
    channels: Channels | None = None
    """The order of an image's axes; None for a vector."""
    is_unbounded: bool = False
    """Whether an image's numbers have no bounds to scale them by."""
    is_too_small: bool = False
    """Whether it is a vector since convolutions do not fit the picture that it is."""

    @classmethod
    def of(cls, box: Box, *, frames: int = 0) -> Self:
        """View as an image where it has the shape and the numbers of one, else as a vector.

        `frames` is the length of the stack that it is, 0 for none.
        """
        shape = tuple(box.shape)
        is_stacked_vector = frames > 0 and len(shape) == pictures.HEIGHT_WIDTH
        numbers = pictures.numbers_of(box, is_stacked_vector=is_stacked_vector)
        channels = None if is_stacked_vector else pictures.order_of(shape, numbers)
        is_scaled = numbers == "pixels" and box.dtype.kind in "iu"
        is_scaled = is_scaled or (numbers != "any" and channels is not None)
        highest = float(box.high.max()) if is_scaled else 0.0
        has_bounds = bool(np.isfinite(box.low).all() and (box.high <= pictures.HIGHEST_NUMBER).all())
        is_picture = numbers == "pixels" and len(shape) in pictures.AXES and not is_stacked_vector
        return cls(
            shape,
            None if highest in {0, 1} else highest,
            channels,
            is_unbounded=channels is not None and not has_bounds,
            is_too_small=channels is None and is_picture,
        )

    @classmethod
    def of_stack(cls, shape: Sequence[int]) -> Self:
        """View a stack (stack, height, width) of grey images from 0 to 255 as it is, and any other shape as a vector.

        What the exported graph makes of an environment's frames is that.
        """
        is_image = len(shape) == IMAGE and min(shape[1:]) >= LEAST_SIDE
        return cls(tuple(shape), HIGHEST_PIXEL if is_image else None, "first" if is_image else None)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return pictures.image_shape(self.shape, self.channels)

    @property
    def shrinking(self) -> tuple[int, int]:
        """Height and width of the blocks of pixels of which convolutions see the mean; (1, 1) where they see every one.

        They are squares as far as the shorter side allows.
        """
        _, height, width = self.image_shape
        largest = LARGEST_SIDE_OF_SMALL if self.is_small else LARGEST_SIDE
        square = max(1, min(-(-max(height, width) // largest), min(height, width) // LEAST_SIDE))
        return square * -(-(height // square) // largest), square * -(-(width // square) // largest)

    @property
    def seen_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of what convolutions see."""
        n, height, width = self.image_shape
        rows, columns = self.shrinking
        return n, height // rows, width // columns

    @property
    def is_small(self) -> bool:
        """Whether the image is too small for the usual convolutions."""
        return min(self.image_shape[1:]) < LEAST_SIDE

    def doubt(self, highest_met: float) -> str:
        """Say of a small image that it is hardly more than 0 to a network; "" where the numbers met are higher."""
        if self.channels is None or not self.is_small or self.highest != HIGHEST_PIXEL or not 0 < highest_met <= DARK:
            return ""
        return (
            f"observations reached {highest_met:g} of {HIGHEST_PIXEL} in the first steps, and the network sees them "
            "divided by that: if they are kinds or counts and no pixels, give the space their bounds, such as "
            f"Box(0, {highest_met:g}, ...)"
        )

    def statement(self, *, is_convolved: bool) -> str:
        """How the network sees what is more than a vector; "" for a vector."""
        scaled = "" if self.highest is None else f", scaled from 0..{self.highest:g} to 0..1"
        if self.channels is None:
            vector = f"observations {self.shape} are seen as a vector of {prod(self.shape):,} numbers{scaled}"
            reason = ", since they are too small for convolutions" if self.is_too_small and is_convolved else ""
            return f"{vector}{reason}" if len(self.shape) > 1 or scaled else ""
        scaled = ", not scaled, since their space has no bounds that tell of pixels" if self.is_unbounded else scaled
        n, height, width = self.image_shape
        order = {"first": " on the first axis", "last": " on the last axis"}.get(self.channels, "")
        of = f"{n} channel{'s' * (n > 1)}{order}{scaled}"
        image = f"observations {self.shape} are seen as images of {height} x {width} pixels with {of}"
        if not is_convolved:
            return f"{image}, in one vector: --algo dqn has convolutions, agents of continuous actions none"
        return image if self.shrinking == (1, 1) else f"{image}, shrunk to {self.seen_shape[1]} x {self.seen_shape[2]}"


class Arranged(nn.Module):
    """Images (n, *shape) in whatever order as (n, channels, height, width)."""

    def __init__(self, view: View) -> None:
        super().__init__()
        self._channels = view.channels

    def forward(self, images: Tensor) -> Tensor:
        """Rearrange the images."""
        if self._channels == "last":
            return images.permute(0, 3, 1, 2)
        if self._channels == "none":
            return images.unsqueeze(1)
        if self._channels == "stack last":
            images = images.permute(0, 1, 4, 2, 3)
        elif self._channels == "both last":
            images = images.permute(0, 4, 3, 1, 2)
        return images.flatten(1, 2)
