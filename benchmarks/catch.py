"""A small game in images: a ball falls, and a paddle is to be under it when it lands. Registers `Catch-v0`."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

HEIGHT, WIDTH = 40, 36
"""The least that the convolutions of Mnih et al. (2015) take."""
CELL = 4
FALL = 2
"""Rows that the ball falls in a step."""
FASTEST = 3.0
"""Columns that the paddle moves in a step, at most."""


class Catch(gym.Env[NDArray[np.uint8], Any]):
    """Images in colour; actions left, stay and right, or with `is_continuous` a number of columns."""

    def __init__(self, *, is_continuous: bool = False) -> None:
        self.observation_space = Box(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        self.action_space = Box(-FASTEST, FASTEST, (1,), np.float32) if is_continuous else Discrete(3)
        self._ball, self._paddle, self._row = 0.0, 0.0, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Drop a ball from the top."""
        super().reset(seed=seed, options=options)
        self._ball, self._paddle = self.np_random.uniform(0, WIDTH - CELL, size=2)
        self._row = 0
        return self._image(), {}

    def step(self, action: Any) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Move the paddle; the reward is 1 for a ball that was caught, -1 for one that was not."""
        moved = (int(action) - 1) * FASTEST if isinstance(self.action_space, Discrete) else float(action[0])
        self._paddle = float(np.clip(self._paddle + moved, 0, WIDTH - CELL))
        self._row += FALL
        is_over = self._row >= HEIGHT - CELL
        caught = 1.0 if abs(self._ball - self._paddle) <= CELL else -1.0
        return self._image(), caught if is_over else 0.0, is_over, False, {}

    def _image(self) -> NDArray[np.uint8]:
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        ball, paddle = round(self._ball), round(self._paddle)
        image[self._row : self._row + CELL, ball : ball + CELL] = (255, 200, 0)
        image[HEIGHT - CELL :, paddle : paddle + CELL] = (0, 120, 255)
        return image


gym.register("Catch-v0", Catch, max_episode_steps=100)  # type: ignore[arg-type]
