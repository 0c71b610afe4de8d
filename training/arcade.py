"""Atari games stepped together as grey screens, by ale-py's C++ environments where they play by the same rules."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from training.envs import EnvironmentSpec, VecEnv, make_vec, register
from training.errors import UnsupportedEnvironment
from training.screens import FRAME_SHAPE, SCREEN_SHAPE, to_screens

Screen = NDArray[np.uint8]

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
    """`n` games whose observations are stacks (spec.frames, 88, 80) uint8 of grey screens.

    Raises:
        TrainingError: as `make_vec`, or the environment emits no Atari frames.
    """
    register(spec)
    entry = gym.registry[spec.id].vector_entry_point
    is_fast = not spec.kwargs and str(entry).startswith("ale_py")
    raw = EnvironmentSpec(spec.id, AS_GYMNASIUM_MAKES_IT if is_fast else spec.kwargs, spec.module)
    return ScreenVec(make_vec(raw, n, is_seeded_singly=not is_fast), spec)


class ScreenVec(VectorEnv[Screen, NDArray[Any], NDArray[Any]]):
    """Colour frames of a vector environment as stacks of grey screens; an episode's first frame fills its stack."""

    def __init__(self, envs: VecEnv, spec: EnvironmentSpec) -> None:
        shape = envs.single_observation_space.shape or ()
        if shape[-3:] != FRAME_SHAPE:
            envs.close()
            raise UnsupportedEnvironment(f"{spec.id}: expected frames of {FRAME_SHAPE}, got {shape}")
        self._envs = envs
        self.num_envs = envs.num_envs
        self.single_observation_space = Box(0, 255, (spec.frames, *SCREEN_SHAPE), np.uint8)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.single_action_space = envs.single_action_space
        self.action_space = envs.action_space
        self.metadata = {**envs.metadata, "autoreset_mode": AutoresetMode.NEXT_STEP}
        self._stack = np.zeros((self.num_envs, spec.frames, *SCREEN_SHAPE), np.uint8)
        self._is_over = np.zeros(self.num_envs, np.bool_)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Screen, dict[str, Any]]:
        """The stacks (n, frames, 88, 80) of the first frames."""
        frames, info = self._envs.reset(seed=seed, options=options)
        self._stack[:] = self._screens(frames)[:, None]
        self._is_over[:] = False
        return self._stack.copy(), info

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[Screen, NDArray[Any], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """The stacks after one step of each game; a game that was over begins anew."""
        frames, reward, terminated, truncated, info = self._envs.step(actions)
        screens = self._screens(frames)
        self._stack[:, :-1] = self._stack[:, 1:]
        self._stack[:, -1] = screens
        self._stack[self._is_over] = screens[self._is_over, None]
        self._is_over = terminated | truncated
        return self._stack.copy(), reward, terminated, truncated, info

    def close(self, **kwargs: Any) -> None:
        """Close the games."""
        self._envs.close(**kwargs)

    def _screens(self, frames: Screen) -> Screen:
        return to_screens(frames.reshape(self.num_envs, *FRAME_SHAPE))
