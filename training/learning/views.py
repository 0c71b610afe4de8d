"""How a network takes an observation: as a vector of numbers, or as an image, whose axes come in several orders."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal, Self

from gymnasium.spaces import Box
from torch import Tensor, nn

Channels = Literal["first", "last", "none", "stack first", "stack last"]
LEAST_SIDE = 36
"""Pixels of the smallest image that the convolutions of Mnih et al. 2015 leave something of."""
SMALLEST = 5
"""Pixels of the side of what is still an image to small convolutions."""
LARGEST_SIDE = 128
"""Pixels of the largest side that convolutions see; larger images are shrunk to it, by means of blocks of pixels."""
LARGEST_SIDE_OF_SMALL = 64
"""The same where the shorter side is too short for the usual convolutions: the small ones cost more for each pixel."""
MOST_CHANNELS = 16
"""Most channels of an image whose channels come last; more are taken for a side."""
HIGHEST_PIXEL = 255
HEIGHT_WIDTH, IMAGE, STACK = 2, 3, 4
"""Axes of a grey image, of one with channels, and of a stack of those."""


@dataclass(frozen=True, slots=True)
class View:
    """What of an observation is known to a network."""

    shape: tuple[int, ...]
    has_pixels: bool = False
    """Whether its numbers go from 0 to 255, and are scaled."""
    channels: Channels | None = None
    """The order of an image's axes; None for a vector."""

    @classmethod
    def of(cls, box: Box) -> Self:
        """View as an image where it has the shape of one, and pixels or sides of some length; else as a vector."""
        shape = tuple(box.shape)
        has_pixels = bool((box.low == 0).all() and (box.high == HIGHEST_PIXEL).all())
        channels = _channels(shape, has_pixels=has_pixels)
        return cls(shape, has_pixels and (channels is not None or box.dtype.kind in "iu"), channels)

    @classmethod
    def of_stack(cls, shape: Sequence[int]) -> Self:
        """View a stack (stack, height, width) of grey images from 0 to 255 as it is, and any other shape as a vector.

        What the exported graph makes of an environment's frames is that.
        """
        is_image = len(shape) == IMAGE and min(shape[1:]) >= LEAST_SIDE
        return cls(tuple(shape), is_image, "first" if is_image else None)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        shape = self.shape
        match self.channels:
            case "last":
                return shape[2], shape[0], shape[1]
            case "none":
                return 1, shape[0], shape[1]
            case "stack first":
                return shape[0] * shape[1], shape[2], shape[3]
            case "stack last":
                return shape[0] * shape[3], shape[1], shape[2]
            case _:
                return shape[0], shape[1], shape[2]

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

    def statement(self, *, is_convolved: bool) -> str:
        """How the network sees what is more than a vector; "" for a vector."""
        scaled = ", scaled from 0..255 to 0..1" if self.has_pixels else ""
        if self.channels is None:
            vector = f"observations {self.shape} are seen as a vector of {prod(self.shape):,} numbers{scaled}"
            return vector if len(self.shape) > 1 or self.has_pixels else ""
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
        return images.flatten(1, 2)


def _channels(shape: tuple[int, ...], *, has_pixels: bool) -> Channels | None:
    found: Channels | None = None
    sides = shape[-2:]
    if len(shape) == HEIGHT_WIDTH and has_pixels:
        found = "none"
    elif len(shape) == IMAGE:
        found = "last" if shape[-1] <= MOST_CHANNELS and shape[-1] < shape[0] else "first"
    elif len(shape) == STACK:
        found = "stack last" if shape[-1] <= MOST_CHANNELS and shape[-1] < shape[1] else "stack first"
    if found in {"last", "stack last"}:
        sides = shape[-3:-1]
    return found if min(sides, default=0) >= (SMALLEST if has_pixels else LEAST_SIDE) else None
