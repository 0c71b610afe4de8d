"""Steps of several environments, as a collector gives them."""

import numpy as np

from polserve.training.learning.transitions import VectorStep


def taken(rewards: list[float], *, is_over: bool = False, is_real: bool = True) -> VectorStep:
    """A step that was paid so."""
    n = len(rewards)
    numbers, none = np.asarray(rewards, np.float32), np.zeros(n, np.bool_)
    zeros = np.zeros((n, 1), np.float32)
    return VectorStep(zeros, zeros[:, 0], numbers, none, none | is_over, none | is_real)
