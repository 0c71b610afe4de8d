"""The four mazes of Ms. Pac-Man on a lattice of cells, and how far it is from each cell to each other.

A cell is 12 pixels high and 8 wide. The lattice has 14 rows from y = 2, and 18 columns: nine from x = 8, nine from
x = 84.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

N_ROWS, N_COLUMNS = 14, 18
N_CELLS = N_ROWS * N_COLUMNS
ENERGIZERS = ((1, 0), (1, 17), (12, 0), (12, 17))
"""(row, column) of the energizers, the same in every maze."""
DIRECTIONS = ((-1, 0), (0, 1), (0, -1), (1, 0))
"""(rows, columns) of a step up, right, left and down: the order of the game's own actions 1 to 4."""
OPPOSITE = (3, 2, 1, 0)
TO_THE_RIGHT = (1, 3, 0, 2)
"""The direction that is on the right of each direction."""
TO_THE_LEFT = (2, 0, 3, 1)
FAR = 100
"""Stands for a cell that cannot be reached in that direction; no way within a maze is as long."""

WALL, PEN, TUNNEL = "#", "-", "="
_DRAWINGS = (
    """
    ....#........#....
    .##.#.######.#.##.
    ..................
    #.#.##.####.##.#.#
    =.#............#.=
    #.####.#--#.####.#
    #......#--#......#
    #.####.####.####.#
    =.#............#.=
    #.#.#.#.##.#.#.#.#
    ....#.#....#.#....
    .##.#...##...#.##.
    .##.###.##.###.##.
    ..................
    """,
    """
    ..................
    .####.######.####.
    ..#...#....#...#..
    #.#.#.#.##.#.#.#.#
    #.#.#........#.#.#
    =...##.#--#.##...=
    .##....#--#....##.
    .##.##.####.##.##.
    .##.#........#.##.
    ......######......
    ##.##.#....#.##.##
    ....#...##...#....
    .##.#.######.#.##.
    =...#........#...=
    """,
    """
    ......#....#......
    .##.#...##...#.##.
    ....#.#....#.#....
    ##.##.######.##.##
    ..................
    .##.##.#--#.##.##.
    .#...#.#--#.#...#.
    .#.#.#.####.#.#.#.
    =..#..........#..=
    ##.##.#.##.#.##.##
    ......#....#......
    .#.##...##...##.#.
    .#.##.#.##.#.##.#.
    ......#....#......
    """,
    """
    ..................
    .#.##.######.##.#.
    .#....#....#....#.
    .##.#.#.##.#.#.##.
    ....#........#....
    #.#.##.#--#.##.#.#
    =.#....#--#....#.=
    ###.##.####.##.###
    =.#.#........#.#.=
    #.#.#.#.##.#.#.#.#
    ......#....#......
    .#.##.######.##.#.
    .#.##.#....#.##.#.
    ........##........
    """,
)
"""'.' is a corridor, '=' a corridor that goes on at the other side, '#' a wall, '-' the ghosts' pen."""


@dataclass(frozen=True, slots=True)
class Mazes:
    """What is known of all mazes; the first axis is the maze."""

    is_open: NDArray[np.bool_]
    """(4, 252): cells that are no wall, the pen among them."""
    distance: NDArray[np.uint8]
    """(4, 4, 252, 252): steps from a cell to another, by the direction of the first step; FAR where there is no way."""
    ghost_distance: NDArray[np.uint8]
    """(4, 5, 252, 252): steps of a ghost by its heading, since it cannot turn back at once; the last row is for an
    unknown heading."""
    is_way: NDArray[np.bool_]
    """(4, 4, 252): whether the way in a direction is open from a cell."""
    junction: NDArray[np.uint8]
    """(4, 4, 252): the first cell, on the way in a direction, from which there are more than two ways."""


@cache
def mazes() -> Mazes:
    """Tables of the game's mazes, computed once."""
    drawings = [[row.strip() for row in drawing.strip().splitlines()] for drawing in _DRAWINGS]
    tables = [_tables(drawing) for drawing in drawings]
    return Mazes(
        np.array([[[cell != WALL for cell in row] for row in drawing] for drawing in drawings]).reshape(4, N_CELLS),
        np.stack([table[0] for table in tables]),
        np.stack([table[1] for table in tables]),
        np.stack([table[2] for table in tables]),
        np.stack([table[3] for table in tables]),
    )


def _tables(drawing: list[str]) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_], NDArray[np.uint8]]:
    neighbours = np.full((4, N_CELLS), -1)
    for cell in range(N_CELLS):
        for direction in range(4):
            neighbours[direction, cell] = _neighbour(drawing, cell, direction)
    nearest = _all_distances(neighbours)
    distance = np.full((4, N_CELLS, N_CELLS), FAR, np.uint8)
    for direction in range(4):
        for start in np.flatnonzero(neighbours[direction] >= 0):
            distance[direction, start] = np.minimum(nearest[neighbours[direction, start]] + 1, FAR)
            distance[direction, start, start] = 0
    return distance, _ghost_distances(neighbours), neighbours >= 0, _junctions(neighbours)


def _neighbour(drawing: list[str], cell: int, direction: int) -> int:
    """Find the cell one step away, -1 where a wall or the picture's end is."""
    row, column = divmod(cell, N_COLUMNS)
    here = drawing[row][column]
    if here == WALL:
        return -1
    row, column = row + DIRECTIONS[direction][0], column + DIRECTIONS[direction][1]
    if here == TUNNEL and not 0 <= column < N_COLUMNS:
        column %= N_COLUMNS
    if not (0 <= row < N_ROWS and 0 <= column < N_COLUMNS):
        return -1
    there = drawing[row][column]
    is_into_the_pen = there == PEN and here != PEN
    return -1 if there == WALL or is_into_the_pen else row * N_COLUMNS + column


def _all_distances(neighbours: NDArray[np.int_]) -> NDArray[np.int_]:
    """Count the steps (252, 252) of the shortest way from each cell to each."""
    table = np.full((N_CELLS, N_CELLS), FAR)
    for start in range(N_CELLS):
        _walk(table[start], [start], lambda cell: [n for n in neighbours[:, cell] if n >= 0])
    return table


def _ghost_distances(neighbours: NDArray[np.int_]) -> NDArray[np.uint8]:
    """Count the steps (5, 252, 252) of a ghost, by its heading, from each cell to each."""
    table = np.full((5, N_CELLS, N_CELLS), FAR, np.uint8)

    def onward(state: int) -> list[int]:
        heading, cell = divmod(state, N_CELLS)
        ways = [way for way in range(4) if neighbours[way, cell] >= 0 and OPPOSITE[way] != heading]
        ways = ways or [way for way in range(4) if neighbours[way, cell] >= 0]
        return [way * N_CELLS + neighbours[way, cell] for way in ways]

    for heading in range(5):
        for cell in range(N_CELLS):
            steps = np.full(5 * N_CELLS, FAR)
            _walk(steps, [heading * N_CELLS + cell], onward)
            table[heading, cell] = steps.reshape(5, N_CELLS).min(0)
    return table


def _junctions(neighbours: NDArray[np.int_]) -> NDArray[np.uint8]:
    """Find the first junction (4, 252) on the way in each direction from each cell; the cell itself at a wall."""
    n_ways = (neighbours >= 0).sum(0)
    table = np.tile(np.arange(N_CELLS), (4, 1))
    for direction in range(4):
        for cell in np.flatnonzero(neighbours[direction] >= 0):
            way, there = direction, int(neighbours[direction, cell])
            while n_ways[there] == 2 and there != cell:  # noqa: PLR2004 - a corridor
                way = next(d for d in range(4) if neighbours[d, there] >= 0 and d != OPPOSITE[way])
                there = int(neighbours[way, there])
            table[direction, cell] = there
    return table.astype(np.uint8)


def _walk(steps: NDArray[np.int_], start: list[int], onward: Callable[[int], Iterable[int]]) -> None:
    """Fill `steps` with those from `start` to each state, breadth first."""
    edge, n = start, 0
    for state in start:
        steps[state] = 0
    while edge:
        n += 1
        further = []
        for state in edge:
            for following in onward(state):
                if steps[following] > n:
                    steps[following] = n
                    further.append(following)
        edge = further
