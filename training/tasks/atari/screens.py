"""From a game's colour frame to the grey screen that networks see: in integers, once with numpy and once with torch.

Halve, and grey by the mean of the colours: a pixel is a third of its colours' sum, rounded down. In integers, so that
training and the exported graph see the same bits. Of Ms. Pac-Man what lies below the maze is cut off, and one colour is
made black for contrast (known from Geron 2017, Hands-On Machine Learning, chapter 16): pixels whose colours sum to 448,
which is 210 + 164 + 74. That is Ms. Pac-Man's own colour.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

FRAME_SHAPE = (210, 160, 3)
"""Height, width and colours of an Atari frame."""
COLUMNS = slice(None, None, 2)


@dataclass(frozen=True, slots=True)
class Framing:
    """What of a game's frame a screen shows."""

    rows: slice
    """Rows that are kept: every second one."""
    blackened: int | None = None
    """Sum of the three colours of a pixel that is made black; None for none."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of a screen."""
        return len(range(FRAME_SHAPE[0])[self.rows]), len(range(FRAME_SHAPE[1])[COLUMNS])

    @classmethod
    def of(cls, environment_id: str) -> "Framing":
        """Framing of the game that an environment's id names."""
        return MS_PACMAN if "MsPacman" in environment_id else WHOLE


MS_PACMAN = Framing(slice(1, 176, 2), 448)
"""The maze, (88, 80)."""
WHOLE = Framing(slice(1, None, 2))
"""The whole frame of any other game, (105, 80): what matters may be at its very edge."""


def to_screens(frames: NDArray[np.uint8], framing: Framing = MS_PACMAN) -> NDArray[np.uint8]:
    """Screens (..., *framing.shape) uint8 of frames (..., 210, 160, 3) uint8."""
    cropped = frames[..., framing.rows, COLUMNS, :]
    total: NDArray[Any] = cropped[..., 0].astype(np.uint16)
    total += cropped[..., 1]
    total += cropped[..., 2]
    screens: NDArray[np.uint8] = (total // 3).astype(np.uint8)
    if framing.blackened is not None:
        screens *= total != framing.blackened
    return screens


class Screens(nn.Module):
    """`to_screens` as a part of the exported graph."""

    def __init__(self, framing: Framing = MS_PACMAN, *, is_cropped: bool = False) -> None:
        """With `is_cropped`, the frames come cropped and halved already, (*framing.shape, 3) each."""
        super().__init__()
        self._framing = framing
        self._is_cropped = is_cropped
        self.colours: Tensor
        self.register_buffer(
            "colours", torch.tensor([[1.0]] * 3 + [[0.0]] * (0 if is_cropped else 3)), persistent=False
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Screens (n, stack, *framing.shape) int32, from 0 to 255, of frames (n, stack, 210, 160, 3) uint8."""
        rows = frames if self._is_cropped else frames[:, :, self._framing.rows]  # first: half of the pixels is left
        pixels = rows.reshape(-1, len(self.colours))  # each with the one beside it, which counts nothing
        sums = pixels.to(torch.float32) @ self.colours  # whole numbers below 2^24, so that float32 is exact
        total = sums.reshape(-1, rows.shape[1], *self._framing.shape)
        third = torch.floor((total + 0.5) / 3)
        if self._framing.blackened is not None:
            third = third * (total != self._framing.blackened)
        return third.to(torch.int32)
