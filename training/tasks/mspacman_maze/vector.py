"""Games of Ms. Pac-Man stepped together, whose observations are the features of their mazes."""

from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from polserve.training.environments.making import EnvironmentSpec, VecEnv, make_vec
from polserve.training.tasks.atari.vector import AS_GYMNASIUM_MAKES_IT
from polserve.training.tasks.mspacman_maze.features import N_FEATURES, features
from polserve.training.tasks.mspacman_maze.network import FIRST_WAY, N_WAYS
from polserve.training.tasks.mspacman_maze.sight import FRAME_SHAPE, Sight, see
from polserve.training.tasks.mspacman_maze.situation import N_FRAMES, Situations

Observations = NDArray[np.float32]


def make_mazes(spec: EnvironmentSpec, n: int) -> "MazeVec":
    """`n` games whose observations are features (191,) and whose actions are up, right, left and down."""
    return MazeVec(make_vec(EnvironmentSpec(spec.id, AS_GYMNASIUM_MAKES_IT, spec.module), n))


class MazeVec(VectorEnv[Observations, NDArray[Any], NDArray[Any]]):
    """Frames of a vector environment as features; an episode's first frame fills what is remembered."""

    def __init__(self, games: VecEnv) -> None:
        self._games = games
        self.num_envs = games.num_envs
        self.single_observation_space = Box(-np.inf, np.inf, (N_FEATURES,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.single_action_space = Discrete(N_WAYS, start=FIRST_WAY)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.metadata = {**games.metadata, "autoreset_mode": AutoresetMode.NEXT_STEP}
        self._situations = Situations()
        self._sights: list[Sight] = []
        self._is_over = np.zeros(self.num_envs, np.bool_)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Observations, dict[str, Any]]:
        """Features (n, 191) of the first frames."""
        frames, info = self._games.reset(seed=seed, options=options)
        self._sights = [see(frames.reshape(-1, *FRAME_SHAPE))] * N_FRAMES
        self._is_over[:] = False
        return self._observe(), info

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[Observations, NDArray[Any], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Features (n, 191) after one step of each game; a game that was over begins anew."""
        frames, rewards, terminated, truncated, info = self._games.step(actions)
        latest = see(frames.reshape(-1, *FRAME_SHAPE))
        self._sights = [*self._sights[1:], latest]
        if self._is_over.any():
            begun = torch.from_numpy(self._is_over.copy())
            self._sights = [_replaced(sight, latest, begun) for sight in self._sights]
        self._is_over = terminated | truncated
        return self._observe(), rewards, terminated, truncated, info

    def close(self, **kwargs: Any) -> None:
        """Close the games."""
        self._games.close(**kwargs)

    @torch.no_grad()
    def _observe(self) -> Observations:
        observations: Observations = features(self._situations(self._sights)).numpy()
        return observations


def _replaced(sight: Sight, latest: Sight, begun: torch.Tensor) -> Sight:
    """`sight`, and `latest` in its place in the games that have begun."""
    pairs = zip(sight, latest, strict=True)
    return Sight(*(torch.where(begun.view(-1, *[1] * (new.ndim - 1)), new, old) for old, new in pairs))
