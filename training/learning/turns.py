"""Turns in the environment of a run that has only one: training's, and those of its evaluations."""

from polserve.training.environments.making import VecEnv
from polserve.training.environments.one import OneEnv
from polserve.training.learning.collector import Collector
from polserve.training.learning.streams import EnvironmentSeeds


class Turns:
    """Whose turn it is in the only environment; in any others, evaluations take no turns.

    An evaluation waits for the end of training's episode. One that takes `patience` steps more is cut off there, as by
    a time limit: what is learned is that it would have gone on.
    """

    def __init__(self, envs: VecEnv, collector: Collector, seeds: EnvironmentSeeds, patience: int) -> None:
        self._one = envs if isinstance(envs, OneEnv) else None
        self._collector = collector
        self._seeds = seeds
        self._patience = patience
        self._waited = 0

    def is_evaluations(self) -> bool:
        """Whether an evaluation that is due may begin; to be asked once in each step that it waits."""
        if self._one is None or self._collector.is_between_episodes:
            return True
        self._waited += 1
        if self._waited >= self._patience:
            self._one.end_episode()
        return False

    def give(self) -> None:
        """Close training's environment until its next step."""
        self._waited = 0
        if self._one is not None:
            self._one.suspend()

    def take_back(self) -> None:
        """Begin an episode of training in a new environment, if it was closed; one that went on is forgotten."""
        if self._one is None or not self._one.is_suspended:
            return
        (seed,) = self._seeds.draw(1)
        if self._collector.is_between_episodes:
            self._one.resume(seed)
        else:
            self._collector.begin([seed])
