"""What is learned from in place of the reward that was paid; episodes are always accounted in the reward itself."""

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Treatment = Literal["none", "clip", "root"]
Factor: TypeAlias = Callable[[], float]
"""Gives the factor that rewards are learned from times; asked for only where an update is due."""


def unchanged() -> float:
    """Return 1, the factor of rewards that are learned from as they are."""
    return 1.0


def treat(reward: NDArray[np.float32], treatment: Treatment, scale: float) -> NDArray[np.float32]:
    """`reward` (n,) after its treatment, times `scale`.

    "clip" is the sign-preserving clip to [-1, 1] of Mnih et al. 2015, which makes a ghost worth a pellet; "root" is
    the square root with the reward's sign, as in Pohlen et al. 2018, but of the reward and not of the value.
    """
    if treatment == "clip":
        reward = np.clip(reward, -1, 1)
    elif treatment == "root":
        reward = np.sign(reward) * np.sqrt(np.abs(reward))
    return (reward * np.float32(scale)).astype(np.float32)
