"""What one frame of Ms. Pac-Man shows: walls, pellets and figures, by the green part of its colours alone.

The colours were read from the game's own frames. What has none of them is the fruit. The same is computed twice, with
numpy for training and with torch for the exported graph; a test compares the two.
"""

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polserve.training.tasks.mspacman_maze.mazes import N_CELLS, N_COLUMNS, N_ROWS

FRAME_SHAPE = (210, 160, 3)
HEIGHT, WIDTH = 172, 160
"""Pixels of the maze; the lives and the score are below."""
GREEN = 1
BLACK, FLOOR = 0, 28
BORDERS = (111, 170, 156)
"""Of the mazes; the first two have the same green."""
WHITE = 214
"""Of ghosts that will soon be dangerous again, and of the border of a maze that has been cleared."""
FIGURES = (164, 72, 89, 184, 122)
"""Ms. Pac-Man, Blinky, Pinky, Inky and Sue."""
EDIBLE = 114
LIFE, LIFE_PIXELS = 187, 30.0
"""Of Ms. Pac-Man in the row of lives, and about how many pixels one life has there."""
BACKGROUND = (BLACK, FLOOR, LIFE, *BORDERS)
LIVES_ROWS = slice(172, 186)
FEW = 12
"""Pixels of a figure in a cell from which on it counts as there; a whole one has about 60."""
CELL_HEIGHT, CELL_WIDTH, TOP, LEFT, RIGHT = 12, 8, 2, 8, 84
MIDDLE = 82
"""Where the right half begins, in pixels from the left."""

N_FIGURES = len(FIGURES)
_EDIBLE, _WHITE, _FRUIT = N_FIGURES + 1, N_FIGURES + 2, N_FIGURES + 3
"""Classes of pixels; 0 is the background, 1 to 5 are the figures."""
N_CLASSES = N_FIGURES + 4


class Sight(NamedTuple):
    """What is seen in each of n frames."""

    is_open: Tensor
    """(n, 252) bool: cells that are no wall."""
    has_pellet: Tensor
    """(n, 252) bool."""
    is_covered: Tensor
    """(n, 252) bool: cells whose pellet, if there is one, is behind a figure."""
    edible: Tensor
    """(n, 252) bool: cells with an edible ghost."""
    flashing: Tensor
    """(n, 252) bool: cells with one that will soon be dangerous again."""
    fruit: Tensor
    """(n, 252) bool: cells with a part of the fruit."""
    is_seen: Tensor
    """(n, 5) bool: whether Ms. Pac-Man and each ghost is in the frame."""
    place: Tensor
    """(n, 5, 2) float32: the middle of each, in pixels from the top and the left; anything where it is not seen."""
    lives: Tensor
    """(n, 1) float32: about how many are left."""


@dataclass(frozen=True, slots=True)
class _Lattice:
    """Where the cells are in a maze of 172 x 160 pixels."""

    wall_at: NDArray[np.int64]
    """(252,): pixels that are of the border's colour where the cell is a wall."""
    pellet_at: NDArray[np.int64]
    """(252,): pixels that are of the border's colour where there is a pellet in an open cell."""
    cell_of_pixel: NDArray[np.int64]
    """(27520,): the cell that a pixel is in; 252 where it is in none."""
    class_of_green: NDArray[np.uint8]
    """(256,)"""


def _lattice() -> _Lattice:
    rows = np.arange(N_ROWS) * CELL_HEIGHT + TOP
    half = np.arange(N_COLUMNS // 2) * CELL_WIDTH
    columns = np.concatenate((half + LEFT, half + RIGHT))
    corner = rows[:, None] * WIDTH + columns[None, :]
    cell_of_pixel = np.full((HEIGHT, WIDTH), N_CELLS)
    for row, y in enumerate(rows):
        for column, x in enumerate(columns):
            cell_of_pixel[y : y + CELL_HEIGHT, x : x + CELL_WIDTH] = row * N_COLUMNS + column
    classes = np.full(256, _FRUIT, np.uint8)
    classes[list(BACKGROUND)] = 0
    classes[list(FIGURES)] = np.arange(N_FIGURES) + 1
    classes[EDIBLE], classes[WHITE] = _EDIBLE, _WHITE
    return _Lattice((corner + 10 * WIDTH + 1).ravel(), (corner + 5 * WIDTH + 1).ravel(), cell_of_pixel.ravel(), classes)


_LATTICE = _lattice()


def see(frames: NDArray[np.uint8]) -> Sight:
    """See frames (n, 210, 160, 3) as `Eye` does; few pixels are figures, and only those are counted."""
    n = len(frames)
    green = np.ascontiguousarray(frames[:, :HEIGHT, :, GREEN]).reshape(n, -1)
    border = green[:, 170 * WIDTH + 80, None]
    is_flash = border == WHITE
    classes = _LATTICE.class_of_green[green]
    eights = np.flatnonzero(classes.reshape(-1).view(np.uint64))  # most of the picture is background, passed over fast
    at = (eights[:, None] * 8 + np.arange(8)).ravel()
    kind = classes.ravel()[at].astype(np.int64)
    at, kind = at[kind > 0], kind[kind > 0]
    frame, pixel = np.divmod(at, HEIGHT * WIDTH)
    # A flashing border is most of the picture: it is dropped here, and nothing white counts then.
    kept = ~((kind == _WHITE) & is_flash[frame, 0])
    frame, pixel, kind = frame[kept], pixel[kept], kind[kept]
    key = (frame * N_CLASSES + kind) * (N_CELLS + 1) + _LATTICE.cell_of_pixel[pixel]
    counts = np.bincount(key, minlength=n * N_CLASSES * (N_CELLS + 1))
    is_there = counts.reshape(n, N_CLASSES, N_CELLS + 1)[:, :, :N_CELLS] >= FEW
    seen, place = _figures(frame * N_CLASSES + kind, pixel, n)
    walls, pellets = green[:, _LATTICE.wall_at], green[:, _LATTICE.pellet_at]
    is_open = walls != border
    lives = (frames[:, LIVES_ROWS, :, GREEN] == LIFE).sum((1, 2), dtype=np.int64)[:, None] / LIFE_PIXELS
    columns: tuple[NDArray[Any], ...] = (
        is_open,
        is_open & (pellets == border),
        is_open & (pellets != border) & (pellets != FLOOR),
        is_there[:, _EDIBLE],
        is_there[:, _WHITE],
        is_there[:, _FRUIT] & ~is_flash,
        seen,
        place,
        lives.astype(np.float32),
    )
    return Sight(*(torch.from_numpy(np.ascontiguousarray(column)) for column in columns))


def _figures(key: NDArray[np.int64], pixel: NDArray[np.int64], n: int) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Find whether each figure is in each of n frames, and its middle; `key` is frame * N_CLASSES + class."""
    y, x = np.divmod(pixel, WIDTH)
    first = np.full((2, n * N_CLASSES), 10_000)
    last = np.full((2, n * N_CLASSES), -1)
    for axis, values in enumerate((y, x)):
        np.minimum.at(first[axis], key, values)
        np.maximum.at(last[axis], key, values)
    is_seen = (last[0] >= 0).reshape(n, N_CLASSES)[:, 1 : N_FIGURES + 1]
    middle = ((first + last) / 2).reshape(2, n, N_CLASSES)[:, :, 1 : N_FIGURES + 1]
    return is_seen, np.moveaxis(middle, 0, -1).astype(np.float32)


class Eye(nn.Module):
    """From frames to what is seen in them, as a part of the exported graph."""

    _wall_at: Tensor
    _pellet_at: Tensor
    _in_row: Tensor
    _in_column: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("_wall_at", torch.from_numpy(_LATTICE.wall_at))
        self.register_buffer("_pellet_at", torch.from_numpy(_LATTICE.pellet_at))
        # Sums over cells are two matrix products: over the pixels' rows, then over their columns.
        grid = _LATTICE.cell_of_pixel.reshape(HEIGHT, WIDTH)
        rows, columns = grid[:, LEFT] // N_COLUMNS, grid[TOP] % N_COLUMNS
        in_row = (rows == np.arange(N_ROWS)[:, None]) & (grid[:, LEFT] < N_CELLS)
        in_column = (columns[:, None] == np.arange(N_COLUMNS)) & (grid[TOP] < N_CELLS)[:, None]
        self.register_buffer("_in_row", torch.from_numpy(in_row.astype(np.float32)))
        self.register_buffer("_in_column", torch.from_numpy(in_column.astype(np.float32)))

    def forward(self, frames: Tensor) -> Sight:
        """See frames (n, 210, 160, 3) uint8."""
        # NOTE: to pick pixels, and to look their classes up, takes ONNX Runtime three times as long as all of this.
        green = torch.split(frames, 1, 3)[GREEN].squeeze(3)
        maze = green[:, :HEIGHT].to(torch.int32)
        border = maze[:, 170, 80].unsqueeze(1)
        is_flash = border == WHITE
        flat = maze.flatten(1)
        walls, pellets = flat[:, self._wall_at], flat[:, self._pellet_at]
        is_open = walls != border
        figures = [maze == colour for colour in FIGURES]
        edible, white = maze == EDIBLE, maze == WHITE
        is_known = functools.reduce(torch.logical_or, [*figures, edible, white, *(maze == one for one in BACKGROUND)])
        seen, places = [], []
        for figure in figures:
            mask = figure.to(torch.float32)
            in_rows, in_columns = mask.amax(2), mask.amax(1)
            seen.append(in_rows.amax(1) > 0)
            places.append(torch.stack((_middle(in_rows), _middle(in_columns)), 1))
        lives = (green[:, LIVES_ROWS].to(torch.int32) == LIFE).to(torch.float32).sum((1, 2)) / LIFE_PIXELS
        return Sight(
            is_open,
            is_open & (pellets == border),
            is_open & (pellets != border) & (pellets != FLOOR),
            self._is_there(edible),
            self._is_there(white) & ~is_flash,
            self._is_there(~is_known) & ~is_flash,
            torch.stack(seen, 1),
            torch.stack(places, 1),
            lives.unsqueeze(1),
        )

    def _is_there(self, mask: Tensor) -> Tensor:
        """Cells (n, 252) with more than a few of the pixels (n, 172, 160) that are true."""
        return (self._in_row @ (mask.to(torch.float32) @ self._in_column)).flatten(1) >= FEW


def _middle(mask: Tensor) -> Tensor:
    """Middle (n,) between the first and the last one in masks (n, m) of zeros and ones."""
    m = mask.shape[1]
    numbers = torch.arange(m, dtype=torch.float32)
    first = m - (mask * (m - numbers)).amax(1)
    last = (mask * numbers).amax(1)
    return (first + last) / 2


def cell_of(place: Tensor) -> tuple[Tensor, Tensor]:
    """Cells (...) int64 of places (..., 2), and how far (..., 2) from the cell's middle they are, in cells."""
    half = N_COLUMNS // 2
    y, x = place[..., 0], place[..., 1]
    row = ((y - TOP) / CELL_HEIGHT).floor().clamp(0, N_ROWS - 1)
    is_left = x < MIDDLE
    start = torch.where(is_left, float(LEFT), float(RIGHT))
    column = ((x - start) / CELL_WIDTH).floor().clamp(0, half - 1)
    offset = torch.stack(
        (
            (y - TOP - row * CELL_HEIGHT - (CELL_HEIGHT - 1) / 2) / CELL_HEIGHT,
            (x - start - column * CELL_WIDTH - (CELL_WIDTH - 1) / 2) / CELL_WIDTH,
        ),
        -1,
    )
    column = torch.where(is_left, column, column + half)
    return (row * N_COLUMNS + column).to(torch.int64), offset.clamp(-1, 1)
