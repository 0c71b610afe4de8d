"""Where transitions come from: a vector environment, stepped by whatever chooses the actions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from polserve.training.environments.making import VecEnv
from polserve.training.environments.rewards import paid
from polserve.training.errors import FaultyEnvironment
from polserve.training.learning.throughput import Throughput
from polserve.training.learning.transitions import VectorStep

ChooseActions: TypeAlias = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class FinishedEpisode:
    """A finished episode: its undiscounted return and its length in steps."""

    episode_return: float
    length: int
    is_cut_off: bool = False
    """Whether it would have gone on, and its return is of a part of it."""


class Collector:
    """Steps a vector environment and keeps account of its episodes."""

    def __init__(self, envs: VecEnv, seeds: list[int], *, is_life_terminal: bool = False) -> None:
        """Begin an episode in each environment, reset with the seed that is its own.

        With `is_life_terminal`, the loss of a life is learned from as if the episode ended there; it goes on.
        """
        self._envs = envs
        self._is_life_terminal = is_life_terminal
        self.throughput = Throughput()
        """Speed of the environments."""
        self.begin(seeds)

    def begin(self, seeds: list[int]) -> None:
        """Begin new episodes in all environments, and forget those that were going on."""
        n = self._envs.num_envs
        reset: Any = self._envs.reset  # whose type has one seed; ours take one for each environment
        self._observation, info = reset(seed=seeds)
        self._lives = self._lives_left(info, n)
        self._is_over = np.zeros(n, np.bool_)
        self._returns = np.zeros(n, np.float64)
        self._lengths = np.zeros(n, np.int64)
        self._finished: list[FinishedEpisode] = []

    @property
    def is_between_episodes(self) -> bool:
        """Whether every environment's episode is over, and its next one still to begin."""
        return bool(self._is_over.all())

    def step(self, choose_actions: ChooseActions) -> VectorStep:
        """Step every environment once.

        NOTE: with autoreset on the next step, the step after an episode's end ignores the action and answers with
        reward 0 and the first observation of the next episode. That is no real step, and it is marked so.
        """
        observation_tm1 = np.array(self._observation)
        action_tm1 = choose_actions(observation_tm1)
        with self.throughput.timing():
            observation_t, reward_t, terminated, truncated, info = self._envs.step(action_tm1)
        self.throughput.add(len(terminated))
        lives = self._lives_left(info, len(terminated))
        step = VectorStep(
            observation_tm1=observation_tm1,
            action_tm1=action_tm1,
            reward_t=np.asarray(reward_t, np.float32),
            is_terminated=terminated | (lives < self._lives),
            is_over=terminated | truncated,
            is_real=~self._is_over,
        )
        self._account(step, np.asarray(paid(step.reward_t, info)))
        self._observation = observation_t
        self._is_over = step.is_over
        self._lives = lives
        return step

    def finished(self) -> list[FinishedEpisode]:
        """Episodes that ended since the last call."""
        finished, self._finished = self._finished, []
        return finished

    def _account(self, step: VectorStep, rewards: NDArray[Any]) -> None:
        self._returns[step.is_real] += rewards[step.is_real]
        self._lengths[step.is_real] += 1
        for index in np.flatnonzero(step.is_over):
            self._finished.append(FinishedEpisode(float(self._returns[index]), int(self._lengths[index])))
            self._returns[index] = 0.0
            self._lengths[index] = 0

    def _lives_left(self, info: Mapping[str, Any], n: int) -> NDArray[np.int64]:
        """Lives left in each of `n` games; zeros where the environment has none, or nothing is learned from them."""
        lives = np.array(info.get("lives", 0) if self._is_life_terminal else 0)
        is_number = lives.dtype.kind in "biuf" and lives.shape in {(), (n,)}
        if not is_number or not np.isfinite(lives).all():
            first = info["lives"][0] if lives.ndim else info["lives"]
            raise FaultyEnvironment(
                f'info["lives"] is {first!r}; expected a number: mend the environment, or leave its lives alone by '
                "--set life_loss_is_terminal=false"
            )
        return np.broadcast_to(lives.astype(np.int64), n)
