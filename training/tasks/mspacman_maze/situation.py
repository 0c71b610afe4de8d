"""What four frames say of a game: where everyone is, where they are heading, and who is where first.

Ghosts are drawn in every second frame at most, so that a figure's place is the latest of four. Distances are along the
corridors, in cells.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from polserve.training.tasks.mspacman_maze.mazes import ENERGIZERS, FAR, N_CELLS, N_COLUMNS, OPPOSITE, mazes
from polserve.training.tasks.mspacman_maze.sight import N_FIGURES, Sight, cell_of

N_FRAMES = 4
N_GHOSTS = N_FIGURES - 1
UNKNOWN = 4
"""Stands for the heading of a figure that did not move between two frames."""
START_CELL = 8 * N_COLUMNS + 9
"""Where Ms. Pac-Man is taken to be while no frame shows her."""
PEN_CELL = 4 * N_COLUMNS + 8
"""Where a ghost is taken to be while no frame shows it."""
JUMP = 40
"""Pixels between two frames from which on a figure went through a tunnel, or was put back."""
STILL = 0.5
"""Pixels between two frames below which it stands."""
AHEAD = 0.5
"""Cells by which Ms. Pac-Man must be ahead of a ghost for a cell to be safe."""


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of n games: Ms. Pac-Man, then the ghosts."""

    cell: Tensor
    """(n, 5) int64."""
    offset: Tensor
    """(n, 5, 2) float32: from the cell's middle, down and to the right, in cells."""
    heading: Tensor
    """(n, 5) int64: up, right, left, down, or `UNKNOWN`."""
    age: Tensor
    """(n, 5) float32: frames since the figure was seen; `N_FRAMES` where it was not."""


@dataclass(frozen=True, slots=True)
class Situation:
    """n games of Ms. Pac-Man. Masks of cells are (n, 252) bool; the axis of 4 is the way that she goes first."""

    maze: Tensor
    """(n,) int64: number of the maze."""
    figures: Figures
    pellets: Tensor
    """Cells with a pellet."""
    energizers: Tensor
    """Cells with an energizer."""
    edible: Tensor
    """Cells with an edible ghost."""
    flashing: Tensor
    """Cells with an edible ghost that will soon be dangerous again."""
    fruit: Tensor
    """Cells with a part of the fruit."""
    lives: Tensor
    """(n, 1) float32: about how many are left."""
    is_way: Tensor
    """(n, 4) bool: whether she can go that way."""
    steps: Tensor
    """(n, 4, 252) float32: her cells to each cell, by the way that she goes first."""
    danger: Tensor
    """(n, 4, 252) float32: each ghost's cells to each cell."""
    junction: Tensor
    """(n, 4) int64: the first junction on each way."""
    is_junction: Tensor
    """Cells that more than two ways lead from."""

    @property
    def own(self) -> Tensor:
        """Cells (n,) of Ms. Pac-Man."""
        return self.figures.cell[:, 0]

    @property
    def is_seen(self) -> Tensor:
        """Whether each ghost (n, 4) was seen in one of the frames."""
        return self.figures.age[:, 1:] < N_FRAMES

    @property
    def arrival(self) -> Tensor:
        """Cells (n, 252) until the first ghost is at each cell."""
        return self.danger.amin(1)

    @property
    def is_safe(self) -> Tensor:
        """Cells (n, 4, 252) that she reaches before every ghost, going that way."""
        return self.steps + AHEAD < self.arrival[:, None]

    @property
    def is_shortest(self) -> Tensor:
        """Cells (n, 4, 252) to which that way is the shortest, or one of them."""
        return self.steps <= self.steps.amin(1)[:, None]

    @property
    def coming(self) -> Tensor:
        """Cells (n, 4) of each ghost to her."""
        return self.danger.gather(2, self.own[:, None, None].expand(-1, N_GHOSTS, 1))[:, :, 0]


class Situations(nn.Module):
    """From the sights of the latest frames to the situation, with what is known of the mazes."""

    _is_open: Tensor
    _distance: Tensor
    _ghost_distance: Tensor
    _is_way: Tensor
    _junction: Tensor
    _is_junction: Tensor
    _is_energizer: Tensor

    def __init__(self) -> None:
        super().__init__()
        tables = mazes()
        self.register_buffer("_is_open", torch.from_numpy(tables.is_open.astype("float32")))
        self.register_buffer("_distance", torch.from_numpy(tables.distance))
        self.register_buffer("_ghost_distance", torch.from_numpy(tables.ghost_distance))
        self.register_buffer("_is_way", torch.from_numpy(tables.is_way))
        self.register_buffer("_junction", torch.from_numpy(tables.junction))
        self.register_buffer("_is_junction", torch.from_numpy(tables.is_way.sum(1) > 2))  # noqa: PLR2004 - a corridor
        is_energizer = torch.zeros(N_CELLS, dtype=torch.bool)
        is_energizer[[row * N_COLUMNS + column for row, column in ENERGIZERS]] = True
        self.register_buffer("_is_energizer", is_energizer)

    def forward(self, sights: list[Sight]) -> Situation:
        """Situation of the latest of `N_FRAMES` sights, oldest first, each of n games."""
        maze = self._maze(sights[-1].is_open)
        figures = follow(sights)
        own = figures.cell[:, 0]
        flashing = sights[-2].flashing | sights[-1].flashing
        blinking = torch.stack([sight.has_pellet for sight in sights]).any(0)
        return Situation(
            maze=maze,
            figures=figures,
            pellets=_remembered(sights) & ~self._is_energizer,
            energizers=blinking & self._is_energizer,
            edible=sights[-2].edible | sights[-1].edible | flashing,
            flashing=flashing,
            fruit=sights[-2].fruit | sights[-1].fruit,
            lives=sights[-1].lives,
            is_way=self._is_way[maze, :, own],
            steps=self._distance[maze, :, own].to(torch.float32),
            danger=self._danger(maze, figures),
            junction=self._junction[maze, :, own].to(torch.int64),
            is_junction=self._is_junction[maze],
        )

    def _maze(self, is_open: Tensor) -> Tensor:
        """Numbers (n,) of the mazes that are most alike."""
        agreement: Tensor = is_open.to(torch.float32) @ (2 * self._is_open - 1).T - self._is_open.sum(1)
        return agreement.argmax(1)

    def _danger(self, maze: Tensor, figures: Figures) -> Tensor:
        """Cells of each ghost to each cell, less those that it may have gone since it was seen."""
        away = self._ghost_distance[maze[:, None], figures.heading[:, 1:], figures.cell[:, 1:]].to(torch.float32)
        age = figures.age[:, 1:, None]
        return torch.where(age < N_FRAMES, (away - age).clamp_min(0), float(FAR))


def follow(sights: list[Sight]) -> Figures:
    """Figures as sights, oldest first, have shown them last."""
    n = sights[0].is_seen.shape[0]  # which the export keeps open; len() would fix it
    cell = torch.tensor([START_CELL] + [PEN_CELL] * N_GHOSTS).expand(n, -1)
    offset, place = torch.zeros(n, N_FIGURES, 2), torch.zeros(n, N_FIGURES, 2)
    heading = torch.full((n, N_FIGURES), UNKNOWN)
    age = torch.full((n, N_FIGURES), float(N_FRAMES))
    for number, sight in enumerate(sights):
        new_cell, new_offset = cell_of(sight.place)
        moved = sight.place - place
        has_moved = sight.is_seen & (age < N_FRAMES) & (moved.abs().amax(-1) >= STILL)
        heading = torch.where(has_moved, _heading(moved), heading)
        cell = torch.where(sight.is_seen, new_cell, cell)
        offset = torch.where(sight.is_seen[..., None], new_offset, offset)
        place = torch.where(sight.is_seen[..., None], sight.place, place)
        age = torch.where(sight.is_seen, float(len(sights) - 1 - number), age)
    return Figures(cell, offset, heading, age)


def _heading(moved: Tensor) -> Tensor:
    """Ways (...) of moves (..., 2) in pixels down and to the right; a jump goes through a tunnel, so the other way."""
    down, right = moved.unbind(-1)
    way = torch.where(
        down.abs() > right.abs(), torch.where(down < 0, 0, 3), torch.where(right > 0, 1, 2)
    )  # the numbers of DIRECTIONS
    return torch.where(moved.abs().amax(-1) > JUMP, torch.tensor(OPPOSITE)[way], way)


def _remembered(sights: list[Sight]) -> Tensor:
    """Cells (n, 252) with a pellet; behind a figure there is what was there before."""
    known: Tensor = sights[0].has_pellet
    for sight in sights[1:]:
        known = (known & sight.is_covered) | (sight.has_pellet & ~sight.is_covered)
    return known
