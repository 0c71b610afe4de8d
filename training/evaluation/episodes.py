"""Whole episodes of a policy on given seeds, and the observations met on the way."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from polserve.training.environments.limits import EVALUATION_ENVS, MAX_EVALUATION_STEPS
from polserve.training.environments.making import EnvironmentSpec, VecEnv, make_env, make_vec
from polserve.training.environments.rewards import paid
from polserve.training.evaluation.one_episode import EpisodesTogether
from polserve.training.evaluation.recurrent import begin_episodes
from polserve.training.learning.collector import ChooseActions, FinishedEpisode
from polserve.training.learning.tracing import GUARD

if TYPE_CHECKING:
    from torch import nn


def play_together(  # noqa: PLR0913 - the last one is for who waits
    choose_actions: ChooseActions,
    make_envs: Callable[[int], VecEnv],
    episodes: int,
    first_seed: int,
    max_steps: int = MAX_EVALUATION_STEPS,
    *,
    most_envs: int = EVALUATION_ENVS,
    report: Callable[[float], None] = lambda _: None,
    count: Callable[[int], None] = lambda _: None,
) -> list[FinishedEpisode]:
    """Play `episodes` whole episodes in what `make_envs` makes of their number, reset with `first_seed` and on.

    No more than `most_envs` environments are played in together.

    An episode that goes on after `max_steps` is cut off there. `report` is told how many are over, with
    one that goes on as the part of `max_steps` that it has taken: where none ends by itself, that tells what is left.
    `count` is told at the end how many steps the environments made; those of C++ also step where an episode is over.

    Episode i was reset with seed `first_seed + i`; in vectorised implementations that draw for all environments
    together, an episode's start depends on `first_seed` and on the number of episodes.
    """
    played: list[FinishedEpisode] = []
    envs = make_envs(min(episodes, most_envs))
    together = EpisodesTogether(envs)
    try:
        while len(played) < episodes:
            seed = first_seed + len(played)
            played += _one_each(choose_actions, together, seed, max_steps, partial(_report_sum, report, len(played)))
    finally:
        envs.close()
    count(together.steps)
    return played[:episodes]


def play_episodes(  # noqa: PLR0913 - likewise
    choose_actions: ChooseActions,
    environment: EnvironmentSpec,
    episodes: int,
    first_seed: int,
    max_steps: int = MAX_EVALUATION_STEPS,
    *,
    most_envs: int = EVALUATION_ENVS,
    report: Callable[[float], None] = lambda _: None,
) -> list[FinishedEpisode]:
    """Play whole episodes in ordinary environments, so that each depends on its own seed alone."""
    return play_together(
        choose_actions,
        lambda n: make_vec(environment, n, is_seeded_singly=True),
        episodes,
        first_seed,
        max_steps,
        most_envs=most_envs,
        report=report,
    )


def cut_off(played: Sequence[FinishedEpisode], max_steps: int, how: str) -> str:
    """Say that episodes were cut off, and `how` to let them go on; "" where none was."""
    n = sum(episode.is_cut_off for episode in played)
    if not n:
        return ""
    return f"{n} of {len(played)} episodes were cut off after {max_steps:,} steps, and so are their returns; {how}"


def _one_each(
    choose_actions: ChooseActions,
    together: EpisodesTogether,
    seed: int,
    max_steps: int,
    report: Callable[[float], None],
) -> list[FinishedEpisode]:
    observation = together.reset(seed)
    begin_episodes(choose_actions)
    returns = np.zeros(len(together.is_over), np.float64)
    lengths = np.zeros(len(together.is_over), np.int64)
    for _ in range(max_steps):
        goes_on = ~together.is_over
        if isinstance(choose_actions, ObservationSample):
            choose_actions.is_met = goes_on
        observation, reward, info = together.step(choose_actions(np.array(observation)))
        reward = paid(reward, info)
        returns[goes_on] += reward[goes_on]
        lengths[goes_on] += 1
        report(float(np.where(together.is_over, 1.0, lengths / max_steps).sum()))
        if together.is_over.all():
            break
    ended = zip(returns, lengths, together.is_over, strict=True)
    return [FinishedEpisode(float(value), int(length), is_cut_off=not ended) for value, length, ended in ended]


def _report_sum(report: Callable[[float], None], before: int, over: float) -> None:
    report(before + over)


def greedy(policy: "nn.Module") -> ChooseActions:
    """Return a function that acts as the module that is exported, on the CPU."""
    import torch  # an evaluation of a graph needs none

    @GUARD.beside
    @torch.no_grad()
    def choose_actions(observations: NDArray[Any]) -> NDArray[Any]:
        answer = policy(torch.from_numpy(observations))
        return np.asarray((answer[0] if isinstance(answer, tuple) else answer).numpy())

    return choose_actions


def random_policy(environment: EnvironmentSpec, seed: int) -> ChooseActions:
    """Return the policy that draws every action uniformly from the environment's action space."""
    env = make_env(environment)
    space = env.action_space
    env.close()
    return random_actions(space, seed)


def random_actions(space: gym.Space[Any], seed: int) -> ChooseActions:
    """Return the policy that draws every action uniformly from `space`."""
    batched: dict[int, Any] = {}

    def choose_actions(observations: NDArray[Any]) -> NDArray[Any]:
        n = len(observations)
        if n not in batched:
            batched[n] = batch_space(space, n)
            batched[n].seed(seed)
        return np.asarray(batched[n].sample())

    return choose_actions


class ObservationSample:
    """A policy that acts as another does, and keeps a uniform sample of the observations that it met."""

    def __init__(self, choose_actions: ChooseActions, size: int, rng: np.random.Generator) -> None:
        self._choose_actions = choose_actions
        self._size = size
        self._rng = rng
        self._keys: NDArray[np.float64] = np.empty(0)
        self._kept: NDArray[Any] | None = None
        self.is_met: NDArray[np.bool_] | None = None
        """Which of the next observations are of an episode that goes on; None for all."""

    def __call__(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Act as the other policy, and remember observations."""
        chosen, is_met, self.is_met = self._choose_actions(observations), self.is_met, None
        observations = observations if is_met is None else observations[is_met]
        # The observations with the largest of independent random keys are a uniform sample without replacement.
        keys = self._rng.random(len(observations))
        if self._kept is None:
            self._kept = observations[:0]
        is_kept = keys > self._keys.min() if len(self._keys) >= self._size else np.ones(len(keys), np.bool_)
        if is_kept.any():
            self._keys = np.concatenate([self._keys, keys[is_kept]])
            self._kept = np.concatenate([self._kept, observations[is_kept]])
        if len(self._keys) > self._size:
            largest = np.argpartition(self._keys, -self._size)[-self._size :]
            self._keys, self._kept = self._keys[largest], self._kept[largest]
        return chosen

    def observations(self) -> NDArray[Any]:
        """Return the sample (n, *shape).

        Raises:
            ValueError: no observation was met.
        """
        if self._kept is None:
            raise ValueError("no observation was met: play at least one episode first")
        return self._kept
