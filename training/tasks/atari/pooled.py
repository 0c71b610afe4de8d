"""Atari games whose frames are the maximum of two, as most published protocols have them."""

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

FRAME_SKIP = 4
"""Frames of the game that an action is given for."""
POOLED = 2
"""The last of them, whose brighter pixels are shown."""

Frame = NDArray[np.uint8]


class PooledGame(gym.Wrapper[Frame, Any, Frame, Any]):
    """A game that shows the brighter of its last two frames at each pixel, so that figures which flicker are seen.

    Apart from that it is the game as ale-py registers it under ALE/: an action lasts for four frames, and each of
    them repeats the frame's before with probability 0.25 (sticky actions, Machado et al. 2018).
    """

    def __init__(self, environment_id: str, **kwargs: Any) -> None:
        """Make the game that is registered under `environment_id`, with keyword arguments of ale-py's."""
        super().__init__(gym.make(environment_id, frameskip=1, disable_env_checker=True, **kwargs))

    def step(self, action: Any) -> tuple[Frame, float, bool, bool, dict[str, Any]]:
        """Give the action for four frames, fewer where the game ends; return what they paid together."""
        paid = 0.0
        shown: list[Frame] = []
        for _ in range(FRAME_SKIP):
            frame, reward, terminated, truncated, info = self.env.step(action)
            shown.append(frame)
            paid += float(reward)
            if terminated or truncated:
                break
        return np.maximum.reduce(shown[-POOLED:]), paid, terminated, truncated, info
