"""Environments whose every answer is looked at: cast to what their spaces say, or refused with what is wrong and when.

The one seam between environments of others and everything here: training, evaluation, promotion and play see the same
numbers.
"""

import contextlib
from collections.abc import Sequence
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, MultiBinary, MultiDiscrete
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from polserve.training.environments.descriptions import describe
from polserve.training.environments.faults import (
    OddValue,
    check_rewards,
    observation_of,
    reset_of,
    step_of,
    told,
    vector_step_of,
)
from polserve.training.environments.layouts import flat_box, flattened, layout_of
from polserve.training.environments.rewards import PAID_REWARD
from polserve.training.environments.spaces import carried
from polserve.training.errors import TrainingError

Array: TypeAlias = NDArray[Any]
READ = ("lives", PAID_REWARD)
"""Parts of the info of environments that are stepped together that anything here reads."""


class Checked(gym.Wrapper[Any, Any, Any, Any]):
    """An environment that answers as its spaces say, or raises FaultyEnvironment.

    Observations that are no Box are laid out in one tensor, by the layout that the spec of a policy states. The
    environment may write into the actions that it takes and the observations that it gave: it has copies.
    """

    keeps_meaning = True

    def __init__(self, env: gym.Env[Any, Any], environment_id: str, *, is_info_kept: bool = True) -> None:
        """Without `is_info_kept`, only what is read is left of the info: Gymnasium cannot put every info together."""
        super().__init__(env)
        self._id = environment_id
        self._is_info_kept = is_info_kept
        self.layout = layout_of(env.observation_space)
        """Layout of the observations; None where they are one tensor anyway."""
        box = env.observation_space
        self._box = carried(box) if isinstance(box, Box) else flat_box(box)
        self.observation_space = self._box if self._box is not None else env.observation_space
        space = env.action_space
        self._action_dtype = space.dtype if isinstance(space, (Box, MultiDiscrete, MultiBinary)) else None
        self._seed: int | None = None
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; return its first observation, cast."""
        self._seed, self._steps = seed, 0
        try:
            observation, info = reset_of(self.env.reset(seed=seed, options=options))
            return self._cast(observation), self._kept(info)
        except (Exception, SystemExit) as error:  # a simulator may call sys.exit
            raise self._told(error) from error

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step with the action in the space's dtype; return what that gives, cast."""
        self._steps += 1
        if self._action_dtype is not None:
            action = np.array(action, self._action_dtype)
        try:
            observation, reward, terminated, truncated, info = step_of(self.env.step(action))
            return self._cast(observation), reward, terminated, truncated, self._kept(info)
        except (Exception, SystemExit) as error:  # a simulator may call sys.exit
            raise self._told(error) from error

    def close(self) -> None:
        """Close the environment; what it raises then harms nobody."""
        with contextlib.suppress(Exception):
            self.env.close()

    def _cast(self, observation: Any) -> Any:
        if self._box is None:
            return observation
        if self.layout is not None:
            observation = flattened(observation, self.layout)
        cast = observation_of(observation, self._box)
        return cast.copy() if cast is observation else cast

    def _kept(self, info: dict[str, Any]) -> dict[str, Any]:
        return info if self._is_info_kept else {key: info[key] for key in READ if key in info}

    def _told(self, error: BaseException) -> TrainingError:
        call = f"step {self._steps} of an episode" if self._steps else "reset"
        if self._seed is not None:
            call += f" with seed {self._seed}"
        return told(self._id, call, error, self._component)

    def _component(self, index: tuple[int, ...]) -> str:
        place = f"observation[{', '.join(map(str, index))}]"
        with contextlib.suppress(TrainingError):
            names = describe(self._id, self).components
            if names and len(index) == 1:
                return f"{place} ({names[index[0]][0]})"
        return place


class CheckedVec(VectorWrapper[Array, Array, Array, Array, Array]):
    """A vector environment of its own kind that answers as its spaces say, or raises FaultyEnvironment."""

    def __init__(self, envs: VectorEnv[Array, Array, Array], environment_id: str) -> None:
        super().__init__(envs)
        self._id = environment_id
        self._steps = 0
        self.is_unheard: NDArray[np.bool_] = np.zeros(envs.num_envs, np.bool_)
        """Environments whose answers nobody reads: they may be wrong."""
        self._was_over: NDArray[np.bool_] = np.zeros(envs.num_envs, np.bool_)
        """Environments whose episodes ended in the latest step."""
        single, space = envs.single_observation_space, envs.single_action_space
        if isinstance(single, Box):
            self.single_observation_space = carried(single)
            self.observation_space = batch_space(self.single_observation_space, envs.num_envs)
        self._box = self.observation_space if isinstance(self.observation_space, Box) else None
        self._action_dtype = space.dtype if isinstance(space, Box) else None

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin an episode in each; return the first observations (n, *shape), cast.

        Of several seeds the first is taken: one generator draws for all environments.
        """
        self._steps = 0
        self.is_unheard = np.zeros(self.num_envs, np.bool_)
        self._was_over = np.zeros(self.num_envs, np.bool_)
        one = seed[0] if isinstance(seed, Sequence) else seed
        try:
            observation, info = reset_of(self.env.reset(seed=one, options=options))
            return self._cast(observation), info
        except (Exception, SystemExit) as error:  # a simulator may call sys.exit
            raise self._told(error) from error

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """Step each of them; return what they give, cast."""
        self._steps += 1
        actions = np.array(actions, self._action_dtype)
        try:
            observation, rewards, terminated, truncated, info = vector_step_of(self.env.step(actions), self.num_envs)
            observation, rewards = self._heard(observation), self._heard(rewards)
            check_rewards(rewards)
            self._check_resets(rewards)
            self._was_over = terminated | truncated
            return self._cast(observation), rewards, terminated, truncated, info
        except (Exception, SystemExit) as error:  # a simulator may call sys.exit
            raise self._told(error) from error

    def _check_resets(self, rewards: Array) -> None:
        """Raise OddValue where an episode that was over was stepped, and paid for that, in place of being reset."""
        if (is_paid := self._was_over & ~self.is_unheard & (rewards != 0)).any():
            index = int(np.flatnonzero(is_paid)[0])
            raise OddValue(
                f"gave the reward {rewards[index]} in environment {index}, whose episode had ended in the step before; "
                "expected 0, since autoreset_mode NEXT_STEP resets it in this one: let it do so, or leave out its "
                "vector_entry_point"
            )

    def _heard(self, answers: Any) -> Any:
        """Answers with one that is read in place of each that is not."""
        if not isinstance(answers, np.ndarray) or not self.is_unheard.any():
            return answers
        return answers[np.where(self.is_unheard, np.argmin(self.is_unheard), np.arange(self.num_envs))]

    def close(self, **kwargs: Any) -> None:
        """Close the environments, likewise."""
        with contextlib.suppress(Exception):
            self.env.close(**kwargs)

    def _cast(self, observation: Any) -> Array:
        return observation if self._box is None else observation_of(observation, self._box)

    def _told(self, error: BaseException) -> TrainingError:
        call = f"step {self._steps} of its vector environment" if self._steps else "reset of its vector environment"
        return told(self._id, call, error, self._component)

    @staticmethod
    def _component(index: tuple[int, ...]) -> str:
        return f"in environment {index[0]}, observation[{', '.join(map(str, index[1:]))}]"
