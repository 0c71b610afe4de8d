"""From a game's colour frame to the grey screen that networks see: in integers, once with numpy and once with torch.

Crop and halve, grey by the mean of the colours, and the maze's background to black for contrast (known from Geron 2017,
Hands-On Machine Learning, chapter 16). In integers, so that training and the exported graph see the same bits: a pixel
whose colours sum to 448, which is 210 + 164 + 74, is background; any other is a third of its sum, rounded down.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

FRAME_SHAPE = (210, 160, 3)
"""Height, width and colours of an Atari frame."""
SCREEN_SHAPE = (88, 80)
"""Height and width of a screen."""
ROWS = slice(1, 176, 2)
COLUMNS = slice(None, None, 2)
BACKGROUND_SUM = 448
"""Sum of the three colours of Ms. Pac-Man's maze."""


def to_screens(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Screens (..., 88, 80) uint8 of frames (..., 210, 160, 3) uint8."""
    cropped = frames[..., ROWS, COLUMNS, :]
    total: NDArray[Any] = cropped[..., 0].astype(np.uint16)
    total += cropped[..., 1]
    total += cropped[..., 2]
    screens: NDArray[np.uint8] = (total // 3).astype(np.uint8)
    screens *= total != BACKGROUND_SUM
    return screens


class Screens(nn.Module):
    """`to_screens` as a part of the exported graph."""

    def __init__(self, *, is_cropped: bool = False) -> None:
        """With `is_cropped`, the frames come cropped and halved already, (88, 80, 3) each."""
        super().__init__()
        self._is_cropped = is_cropped
        self.colours: Tensor
        self.register_buffer(
            "colours", torch.tensor([[1.0]] * 3 + [[0.0]] * (0 if is_cropped else 3)), persistent=False
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Screens (n, stack, 88, 80) int32, from 0 to 255, of frames (n, stack, 210, 160, 3) uint8."""
        rows = frames if self._is_cropped else frames[:, :, ROWS]  # first: less than half of the pixels is left
        pixels = rows.reshape(-1, len(self.colours))  # each with the one beside it, which counts nothing
        sums = pixels.to(torch.float32) @ self.colours  # whole numbers below 2^24, so that float32 is exact
        total = sums.reshape(-1, rows.shape[1], *SCREEN_SHAPE)
        third = torch.floor((total + 0.5) / 3)
        return (third * (total != BACKGROUND_SUM)).to(torch.int32)
