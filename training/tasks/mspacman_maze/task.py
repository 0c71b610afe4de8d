"""Ms. Pac-Man by its mazes as a task: networks see features of the corridors, and graphs take the game's own frames."""

from functools import partial

from polserve.training.environments.making import EnvironmentSpec
from polserve.training.learning.scores import SelectionGames
from polserve.training.tasks.atari.task import ATARI, GOLDEN_FRAMES
from polserve.training.tasks.selection import mean_return
from polserve.training.tasks.task import Task, TaskSetup


def _set_up(environment: EnvironmentSpec, games: SelectionGames) -> TaskSetup:
    """Learn from the features of the maze, and select by the mean score of whole games."""
    from polserve.training.tasks.mspacman_maze.features import MazeFeatures
    from polserve.training.tasks.mspacman_maze.network import AllActions, WayNetwork
    from polserve.training.tasks.mspacman_maze.vector import make_mazes

    make_envs = partial(make_mazes, environment)
    return TaskSetup(
        make_envs,
        partial(mean_return, make_envs, games),
        preprocessing=MazeFeatures(),
        make_network=WayNetwork,
        widening=AllActions(),
        golden_size=GOLDEN_FRAMES,
    )


MAZE = Task("mspacman-maze", register=ATARI.register, set_up=_set_up, published_scores=ATARI.published_scores)
