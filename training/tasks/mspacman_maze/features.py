"""From a situation to numbers about each of the four ways that Ms. Pac-Man can go, and about the whole.

A distance d becomes exp(-d / 6): near things count, far ones fade. Where what is far matters, too, such as the last
pellets of a maze, there is exp(-d / 30) as well, and which way is the shortest.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from polserve.training.tasks.mspacman_maze.mazes import ENERGIZERS, FAR, N_CELLS, N_COLUMNS, N_ROWS
from polserve.training.tasks.mspacman_maze.sight import Eye, Sight
from polserve.training.tasks.mspacman_maze.situation import N_FRAMES, Situation, Situations

FADE, FAR_FADE = 6.0, 30.0
N_MAZES = 4
N_OF_A_WAY = 40
"""Features of each way."""
N_OF_ALL = 31
"""Features of the whole."""
N_FEATURES = 4 * N_OF_A_WAY + N_OF_ALL


class MazeFeatures(nn.Module):
    """From frames to features: perception as a part of the exported graph."""

    def __init__(self) -> None:
        super().__init__()
        self.eye = Eye()
        self.situations = Situations()

    def forward(self, frames: Tensor) -> Tensor:
        """Features (n, 191) of stacks (n, 4, 210, 160, 3) uint8 of frames."""
        seen = [part.unflatten(0, (-1, N_FRAMES)) for part in self.eye(frames.flatten(0, 1))]
        return features(self.situations([Sight(*(part[:, number] for part in seen)) for number in range(N_FRAMES)]))


def features(situation: Situation) -> Tensor:
    """Features (n, 4 * 40 + 31): those of up, right, left and down, then of the whole."""
    of_ways = [*_goods(situation), *_ghosts(situation), *_room(situation)]
    return torch.cat((torch.stack(of_ways, 2).flatten(1), _whole(situation)), 1)


def _goods(now: Situation) -> list[Tensor]:
    """Tell how near what she eats is, going each way, and how much of it there is: (n, 4) each."""
    other = ~one_hot(now.own, N_CELLS).bool()[:, None]
    is_safe = now.is_safe & other
    is_shortest = now.is_shortest

    def away(targets: Tensor, allowed: Tensor) -> Tensor:
        return torch.where(targets[:, None] & allowed, now.steps, float(FAR)).amin(2)

    def near(targets: Tensor, allowed: Tensor) -> Tensor:
        return fade(away(targets, allowed))

    def is_nearest(distance: Tensor) -> Tensor:
        return ((distance <= distance.amin(1, keepdim=True)) & (distance < FAR)).to(torch.float32)

    def count(targets: Tensor, within: float, allowed: Tensor) -> Tensor:
        return (targets[:, None] & allowed & is_shortest & (now.steps <= within)).to(torch.float32).sum(2)

    to_pellets, to_safe_pellets = away(now.pellets, other), away(now.pellets, is_safe)
    to_energizers, to_edible = away(now.energizers, other), away(now.edible, other)
    return [
        fade(to_pellets),
        fade(to_safe_pellets),
        count(now.pellets, 6, other) / 6,
        count(now.pellets, 14, is_safe) / 14,
        count(now.pellets, FAR, other) / 60,
        fade(to_energizers),
        near(now.energizers, is_safe),
        fade(to_edible),
        near(now.edible, is_safe),
        count(now.edible, 8, other) / 4,
        near(now.flashing, other),
        near(now.fruit, other),
        near(now.fruit, is_safe),
        fade(to_pellets, FAR_FADE),
        is_nearest(to_pellets),
        is_nearest(to_safe_pellets),
        fade(to_energizers, FAR_FADE),
        is_nearest(to_energizers),
        fade(to_edible, FAR_FADE),
        is_nearest(to_edible),
    ]


def _ghosts(now: Situation) -> list[Tensor]:
    """Tell how near each ghost is, going each way, and whether it is coming: (n, 4) each."""
    away = now.steps.gather(2, now.figures.cell[:, None, 1:].expand(-1, 4, -1))  # (n, ways, ghosts)
    near = fade(away) * now.is_seen[:, None]
    coming = now.coming[:, None]
    is_facing = (coming < away + 1).to(torch.float32)
    return [*near.unbind(2), *(near * fade(coming)).unbind(2), *(near * is_facing).unbind(2)]


def _room(now: Situation) -> list[Tensor]:
    """Tell what room to go on there is each way: (n, 4) each."""
    is_first = (now.is_safe & now.is_shortest).to(torch.float32)
    junction_steps = now.steps.gather(2, now.junction[:, :, None])[:, :, 0]
    down, right = now.figures.offset[:, 0].unbind(1)
    arrival = now.arrival
    return [
        now.is_way.to(torch.float32),
        is_first.sum(2) / 60,
        (is_first * (now.is_junction[:, None] & (now.steps <= 20))).sum(2) / 10,  # noqa: PLR2004 - cells
        fade(junction_steps),
        torch.tanh((arrival.gather(1, now.junction) - junction_steps) / 4),
        torch.stack((-down, right, -right, down), 1),
        (now.figures.heading[:, :1] == torch.arange(4)).to(torch.float32),
        arrival.gather(1, now.own[:, None]).expand(-1, 4).clamp_max(20) / 20,
    ]


def _whole(now: Situation) -> Tensor:
    """Features (n, 31) that no way has for itself."""
    is_here = one_hot(now.own, N_CELLS).bool()
    steps = now.steps.amin(1)
    n_pellets = now.pellets.to(torch.float32).sum(1, keepdim=True)
    corners = [row * N_COLUMNS + column for row, column in ENERGIZERS]

    def nearest(targets: Tensor) -> Tensor:
        return fade(torch.where(targets, steps, float(FAR)).amin(1, keepdim=True))

    parts = [
        n_pellets / 150,
        torch.exp(-n_pellets / 10),
        now.energizers[:, corners],
        now.edible.to(torch.float32).sum(1, keepdim=True) / 4,
        now.flashing.any(1, keepdim=True),
        now.fruit.any(1, keepdim=True),
        now.figures.age[:, 1:] / N_FRAMES,
        fade(now.coming),
        now.lives.clamp(0, 5) / 3,
        one_hot(now.maze, N_MAZES),
        now.figures.offset[:, 0],
        now.figures.age[:, :1] >= N_FRAMES,
        (now.own // N_COLUMNS)[:, None] / N_ROWS,
        (now.own % N_COLUMNS)[:, None] / N_COLUMNS,
        (now.is_safe & now.is_shortest).any(1).to(torch.float32).sum(1, keepdim=True) / 150,
        nearest(now.energizers),
        nearest(now.pellets & ~is_here),
        now.is_way.to(torch.float32).sum(1, keepdim=True) / 4,
    ]
    return torch.cat([part.to(torch.float32) for part in parts], 1)


def fade(distance: Tensor, cells: float = FADE) -> Tensor:
    """1 for nothing, 1 / e for so many cells, towards 0 for far."""
    return torch.exp(-distance / cells)
