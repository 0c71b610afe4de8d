"""Atari games stepped together as grey screens, by ale-py's C++ environments where they play by the same rules."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from polserve.training.environments.making import EnvironmentSpec, VecEnv, make_vec, register
from polserve.training.errors import UnsupportedEnvironment
from polserve.training.tasks.atari.screens import FRAME_SHAPE, Framing, to_screens

Screen: TypeAlias = NDArray[np.uint8]
StepResult: TypeAlias = tuple[Screen, NDArray[Any], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]

AS_GYMNASIUM_MAKES_IT = {
    "img_height": FRAME_SHAPE[0],
    "img_width": FRAME_SHAPE[1],
    "grayscale": False,
    "stack_num": 1,
    "maxpool": False,
    "noop_max": 0,
    "use_fire_reset": False,
    "reward_clipping": False,
}
"""What makes ale-py's vector environment emit the frames and rewards of `gymnasium.make`.

NOTE: its defaults clip rewards, pool two frames, begin with no-ops and shrink the frame; its own stack begins with
zeros, so that stacking is done here. `episodic_life` resets the whole game at each life lost, so that it stays off.
"""


def make_screens(spec: EnvironmentSpec, n: int) -> "ScreenVec":
    """`n` games whose observations are stacks (spec.frames, height, width) uint8 of grey screens.

    Raises:
        TrainingError: as `make_vec`, or the environment emits no Atari frames.
    """
    register(spec)
    entry = gym.registry[spec.id].vector_entry_point
    if spec.kwargs or not str(entry).startswith("ale_py"):
        raw = EnvironmentSpec(spec.id, spec.kwargs, spec.module)
        return ScreenVec(make_vec(raw, n, is_seeded_singly=True), spec)
    return ScreenVec(make_vec(EnvironmentSpec(spec.id, AS_GYMNASIUM_MAKES_IT, spec.module), n), spec)


class ScreenVec(VectorEnv[Screen, NDArray[Any], NDArray[Any]]):
    """Colour frames of a vector environment as stacks of grey screens; an episode's first frame fills its stack."""

    def __init__(self, games: VecEnv, spec: EnvironmentSpec) -> None:
        """Screens of `games`.

        Raises:
            UnsupportedEnvironment: they emit other frames than Atari's; they are closed.
        """
        shape = games.single_observation_space.shape or ()
        if shape[-3:] != FRAME_SHAPE:
            games.close()
            raise UnsupportedEnvironment(f"{spec.id}: expected frames of {FRAME_SHAPE}, got {shape}")
        self._games = games
        self.num_envs = games.num_envs
        self._framing = Framing.of(spec.id)
        self.single_observation_space = Box(0, 255, (spec.frames, *self._framing.shape), np.uint8)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.single_action_space = games.single_action_space
        self.action_space = games.action_space
        self.metadata = {**games.metadata, "autoreset_mode": AutoresetMode.NEXT_STEP}
        self._stack = np.zeros((self.num_envs, *self.single_observation_space.shape), np.uint8)
        self._is_over = np.zeros(self.num_envs, np.bool_)
        # The games stand still meanwhile, so that it is worth a second thread.
        self._helper = ThreadPoolExecutor(1, thread_name_prefix="screens")

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Screen, dict[str, Any]]:
        """Begin a game in each; return the stacks (n, frames, height, width) of the first frames."""
        frames, info = self._games.reset(seed=seed, options=options)
        self._stack = np.repeat(self._screens(frames)[:, None], self._stack.shape[1], axis=1)
        self._is_over[:] = False
        return self._stack, info

    def step(self, actions: NDArray[Any]) -> StepResult:
        """Step each game; return the stacks after that. A game that was over begins anew."""
        frames, rewards, terminated, truncated, info = self._games.step(actions)
        screens = self._screens(frames)
        self._stack = np.concatenate((self._stack[:, 1:], screens[:, None]), axis=1)  # anew: callers keep the old one
        self._stack[self._is_over] = screens[self._is_over, None]
        self._is_over = terminated | truncated
        return self._stack, rewards, terminated, truncated, info

    def close(self, **kwargs: Any) -> None:
        """Close the games."""
        self._helper.shutdown()
        self._games.close(**kwargs)

    def _screens(self, frames: Screen) -> Screen:
        """Screens (n, height, width) of frames, with or without a stack of one; half of them in each thread."""
        first, second = np.array_split(frames.reshape(-1, *FRAME_SHAPE), 2)
        behind = self._helper.submit(to_screens, second, self._framing)
        return np.concatenate((to_screens(first, self._framing), behind.result()))
