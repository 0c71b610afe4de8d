"""Atari games as a task: networks see stacks of grey screens, and graphs take the game's own colour frames."""

import contextlib
import importlib
import sys
from functools import partial

import gymnasium as gym

from polserve.training.environments.making import EnvironmentSpec
from polserve.training.errors import UnknownEnvironment, require
from polserve.training.learning.scores import SelectionGames
from polserve.training.tasks.atari.published import published_scores
from polserve.training.tasks.selection import mean_return
from polserve.training.tasks.task import Task, TaskSetup

PACKAGE = "ale_py"
"""Registers the games; an optional extra."""
NAMESPACE = "ALE/"
POOLED = "polserve/Pooled"
"""Begins the ids of games whose frames are the maximum of two; what follows is the rest of ALE's id."""
POOLED_GAME = "polserve.training.tasks.atari.pooled:PooledGame"
GOLDEN_FRAMES = 64
"""Golden observations: stacks of colour frames take 400 KB each before they are compressed."""


def _register_games(environment: EnvironmentSpec) -> None:
    """Make Atari games known to Gymnasium, where the package is installed and the id is not known already.

    Raises:
        UnknownEnvironment: the environment is a game, and the package is missing.
    """
    if environment.id in gym.registry:
        return
    with contextlib.suppress(ImportError):
        ale = importlib.import_module(PACKAGE)
        ale.ALEInterface.setLoggerMode(ale.LoggerMode.Error)  # else every game prints a banner
        gym.register_envs(ale)
    if PACKAGE not in sys.modules and (environment.frames or environment.id.startswith((NAMESPACE, POOLED))):
        install = "pip install 'polserve[training,atari]'"
        raise UnknownEnvironment(f"{environment.id} is an Atari game and {PACKAGE} is not installed: {install}")
    game = environment.id.replace(POOLED, NAMESPACE)
    if environment.id.startswith(POOLED) and game in gym.registry:
        gym.register(environment.id, entry_point=POOLED_GAME, kwargs={"environment_id": game})


def emits_colour_frames(environment: EnvironmentSpec) -> bool:
    """Whether the environment is an Atari game as ale-py registers it, or pooled, with frames that screens are made of.

    Raises:
        UnknownEnvironment: it is a game, and ale-py is missing.
    """
    if environment.maker is not None or environment.module:
        return False  # it may emit anything
    _register_games(environment)
    registered = gym.registry.get(environment.id)
    if registered is None or not str(registered.entry_point).startswith((PACKAGE, POOLED_GAME)):
        return False
    return bool({**registered.kwargs, **environment.kwargs}.get("obs_type", "rgb") == "rgb")


def _set_up(environment: EnvironmentSpec, games: SelectionGames) -> TaskSetup:
    """Learn from grey screens, and select by the mean score of whole games."""
    require(environment.frames > 0, "frames", "1 or more for an Atari game", environment.frames)
    from polserve.training.tasks.atari.screens import Framing, Screens
    from polserve.training.tasks.atari.vector import make_screens

    make_envs = partial(make_screens, environment)
    screens = Screens(Framing.of(environment.id))
    return TaskSetup(
        make_envs,
        partial(mean_return, make_envs, games),
        preprocessing=screens,
        golden_size=GOLDEN_FRAMES,
        notes=_notes(environment),
    )


def _notes(environment: EnvironmentSpec) -> tuple[str, ...]:
    """Say that a game which asks for an action in every frame is hard to learn."""
    kwargs = {**gym.registry[environment.id].kwargs, **environment.kwargs}
    if kwargs.get("frameskip") != 1:
        return ()
    note = (
        f"{environment.id} asks for an action in each of its 60 frames a second, which is hard to learn from; with "
        """--env-kwargs '{"frameskip": 4}' an action lasts for four frames, as in most published results"""
    )
    return (note,)


def _sentence(environment_id: str) -> str:
    scores = published_scores(environment_id)
    return f"Published scores of the game: random {scores.random}, human {scores.human}." if scores else ""


ATARI = Task("atari", register=_register_games, set_up=_set_up, published_scores=_sentence)
