"""Which observations are pictures, and on which of their axes their channels are."""

from typing import Literal

import numpy as np
from gymnasium.spaces import Box

Channels = Literal["first", "last", "none", "stack first", "stack last", "both last"]
"""Orders of axes; in the last one height and width come first, then the channels, then the stack."""
Numbers = Literal["pixels", "bounded", "any"]
"""What pictures may be made of: bytes and numbers from 0 to 255; others that all lie between the same two bounds, which
are not negative; and any."""
LEAST_SIDE = 36
"""Pixels of the smallest image that the convolutions of Mnih et al. 2015 leave something of."""
SMALLEST = 5
"""Pixels of the side of what is still an image to small convolutions."""
SMALLEST_OF_FLOATS = 8
"""The same where the numbers are bounded and no pixels: smaller ones are more likely tables."""
MOST_UNLIKE = 4
"""Longest side of such an image as a multiple of the shortest."""
MOST_CHANNELS = 16
"""Most channels that are told from a side by their number alone."""
HIGHEST_PIXEL = 255
HIGHEST_NUMBER = 65_535
"""Highest bound that says something of a picture's numbers: that of pixels of 16 bits."""
HEIGHT_WIDTH, IMAGE, STACK = 2, 3, 4
"""Axes of a grey image, of one with channels, and of a stack of those."""
AXES = (HEIGHT_WIDTH, IMAGE, STACK)


def numbers_of(box: Box, *, is_stacked_vector: bool = False) -> Numbers:
    """Return what pictures in a space are made of; a stack of vectors is none, and its bytes are bounded numbers."""
    low, high = box.low, box.high
    is_bytes = box.dtype == np.uint8 and len(box.shape) in AXES and not is_stacked_vector
    if is_bytes or ((low == 0).all() and (high == HIGHEST_PIXEL).all()):
        return "pixels"
    is_alike = box.dtype.kind in "fb" and len(np.unique(low)) == 1 and len(np.unique(high)) == 1
    return "bounded" if is_alike and 0 <= low.flat[0] < high.flat[0] <= HIGHEST_NUMBER else "any"


def order_of(shape: tuple[int, ...], numbers: Numbers) -> Channels | None:
    """Return the order of the axes, where that is the shape of a picture of such numbers."""
    found = _likely_order(shape)
    if found is None:
        return None
    channels, *sides = image_shape(shape, found)
    if numbers == "pixels":
        return found if min(sides) >= SMALLEST else None
    is_likely = numbers == "bounded" and max(sides) <= MOST_UNLIKE * min(sides)
    if found == "none":
        return found if is_likely and min(sides) >= LEAST_SIDE else None
    if found.startswith("stack"):
        channels //= shape[0]
    is_likely = is_likely and channels <= MOST_CHANNELS and channels < min(sides)
    return found if min(sides) >= (SMALLEST_OF_FLOATS if is_likely else LEAST_SIDE) else None


def image_shape(shape: tuple[int, ...], order: Channels | None) -> tuple[int, int, int]:
    """Channels, those of all images of a stack together, height and width."""
    match order:
        case "last":
            return shape[2], shape[0], shape[1]
        case "none":
            return 1, shape[0], shape[1]
        case "stack first":
            return shape[0] * shape[1], shape[2], shape[3]
        case "stack last":
            return shape[0] * shape[3], shape[1], shape[2]
        case "both last":
            return shape[2] * shape[3], shape[0], shape[1]
        case _:
            return shape[0], shape[1], shape[2]


def _likely_order(shape: tuple[int, ...]) -> Channels | None:
    """Return the order of the axes, if that is a picture's shape."""
    if len(shape) == HEIGHT_WIDTH:
        return "none"
    if len(shape) == IMAGE:
        return "last" if _has_channels_last(shape) else "first"
    if len(shape) != STACK:
        return None
    found: Channels = "stack last" if _has_channels_last(shape[1:]) else "stack first"
    has_sides = min(image_shape(shape, found)[1:]) >= SMALLEST
    is_behind = min(shape[:2]) >= SMALLEST and max(shape[2:]) <= MOST_CHANNELS
    return "both last" if is_behind and not has_sides else found


def _has_channels_last(shape: tuple[int, ...]) -> bool:
    """Whether the last of three axes is rather that of the channels than the first: two sides are often equal."""
    first, middle, last = shape
    if (first == middle) != (middle == last):
        return first == middle
    return last < first and (last <= MOST_CHANNELS or last < middle)
