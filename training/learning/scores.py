"""How good a policy is, by episodes that nothing is learned from."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from polserve.training.environments.limits import EVALUATION_ENVS
from polserve.training.learning.collector import ChooseActions


@dataclass(frozen=True, slots=True)
class SelectionGames:
    """The games that choose among a run's checkpoints; the same ones each time."""

    first_seed: int
    """Seed of the first game; the others follow it."""
    episodes: int
    max_steps: int
    """Steps after which a game is cut off."""
    report: Callable[[float], None] = field(default=lambda _: None, compare=False)
    """Hears how many games of an evaluation are over, with those that go on as parts, where they take time."""
    envs: int = EVALUATION_ENVS
    """Environments that are played in together at most."""


@dataclass(frozen=True, slots=True)
class Score:
    """How good a policy is."""

    value: float
    """The higher, the better."""
    steps: int
    """Environment steps that it took to tell."""
    returns: tuple[float, ...] = ()
    """Return of each game, where policies can be compared game by game."""
    is_whole: bool = True
    """Whether all games were played; where not, the policy is clearly worse than the best one."""


class ScorePolicy(Protocol):
    """Tells how good a policy is."""

    def __call__(self, choose_actions: ChooseActions, best: Score | None) -> Score:
        """Score a policy; it may be left at a part of the games where that is clearly worse than the `best` so far."""
