"""Atari games stepped together as grey screens, by ale-py's C++ environments where they play by the same rules."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from training.envs import EnvironmentSpec, VecEnv, make_vec, register
from training.errors import UnsupportedEnvironment
from training.screens import FRAME_SHAPE, SCREEN_SHAPE, to_screens

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
    """`n` games whose observations are stacks (spec.frames, 88, 80) uint8 of grey screens.

    Raises:
        TrainingError: as `make_vec`, or the environment emits no Atari frames.
    """
    register(spec)
    entry = gym.registry[spec.id].vector_entry_point
    if spec.kwargs or not str(entry).startswith("ale_py"):
        raw = EnvironmentSpec(spec.id, spec.kwargs, spec.module)
        return ScreenVec([make_vec(raw, n, is_seeded_singly=True)], spec)
    raw = EnvironmentSpec(spec.id, AS_GYMNASIUM_MAKES_IT, spec.module)
    sizes = [n // 2, n - n // 2] if n > 1 else [n]
    return ScreenVec([make_vec(raw, size) for size in sizes], spec)


class ScreenVec(VectorEnv[Screen, NDArray[Any], NDArray[Any]]):
    """Colour frames of vector environments as stacks of grey screens; an episode's first frame fills its stack.

    Where there are two environments, the frames of one become screens while the other still steps.
    """

    def __init__(self, parts: Sequence[VecEnv], spec: EnvironmentSpec) -> None:
        """Games 0 to n - 1 are those of the parts, one after the other; several parts must be ale-py's own."""
        first = parts[0]
        shape = first.single_observation_space.shape or ()
        if shape[-3:] != FRAME_SHAPE:
            for part in parts:
                part.close()
            raise UnsupportedEnvironment(f"{spec.id}: expected frames of {FRAME_SHAPE}, got {shape}")
        self._parts = parts
        self._starts = np.cumsum([part.num_envs for part in parts])[:-1]
        self.num_envs = sum(part.num_envs for part in parts)
        self.single_observation_space = Box(0, 255, (spec.frames, *SCREEN_SHAPE), np.uint8)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.single_action_space = first.single_action_space
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.metadata = {**first.metadata, "autoreset_mode": AutoresetMode.NEXT_STEP}
        self._stack = np.zeros((self.num_envs, spec.frames, *SCREEN_SHAPE), np.uint8)
        self._is_over = np.zeros(self.num_envs, np.bool_)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Screen, dict[str, Any]]:
        """The stacks (n, frames, 88, 80) of the first frames."""
        screens, infos = [], []
        for part, start in zip(self._parts, (0, *self._starts), strict=True):
            frames, info = part.reset(seed=None if seed is None else seed + int(start), options=options)
            screens.append(_screens(frames))
            infos.append(info)
        self._stack = np.repeat(np.concatenate(screens)[:, None], self._stack.shape[1], axis=1)
        self._is_over[:] = False
        return self._stack, _joined(infos)

    def step(self, actions: NDArray[Any]) -> StepResult:
        """The stacks after one step of each game; a game that was over begins anew."""
        results = [(_screens(frames), *rest) for frames, *rest in self._step_parts(actions)]
        parts, rewards, terminations, truncations, infos = zip(*results, strict=True)
        screens = np.concatenate(parts)
        self._stack = np.concatenate((self._stack[:, 1:], screens[:, None]), axis=1)  # anew: callers keep the old one
        self._stack[self._is_over] = screens[self._is_over, None]
        terminated, truncated = np.concatenate(terminations), np.concatenate(truncations)
        self._is_over = terminated | truncated
        return self._stack, np.concatenate(rewards), terminated, truncated, _joined(infos)

    def close(self, **kwargs: Any) -> None:
        """Close the games."""
        for part in self._parts:
            part.close(**kwargs)

    def _step_parts(self, actions: NDArray[Any]) -> Iterator[StepResult]:
        """The parts' results in turn, all of them at work from the start."""
        if len(self._parts) == 1:
            yield self._parts[0].step(actions)
            return
        parts: Sequence[Any] = self._parts
        for part, own in zip(parts, np.split(actions, self._starts), strict=True):
            part.send(own)
        for part in parts:
            yield part.recv()


def _screens(frames: Screen) -> Screen:
    """Screens (n, 88, 80) of frames with or without an axis for a stack of one."""
    return to_screens(frames.reshape(-1, *FRAME_SHAPE))


def _joined(infos: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What is known of every game, in their order."""
    return infos[0] if len(infos) == 1 else {key: np.concatenate([info[key] for info in infos]) for key in infos[0]}
