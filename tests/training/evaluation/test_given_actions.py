"""Actions of a user's own function: whatever the space, those that are none of it are refused."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from polserve.training.errors import InvalidOption
from polserve.training.evaluation.given_actions import checked_actions

ARM = Box(np.array([-1000, 0], np.float32), np.array([5, 10], np.float32))
TINY = Box(0, 5e-8, (1,), np.float32)
HALF_LINE = Box(0, np.inf, (1,), np.float32)
WHOLE = Box(0, 3, (1,), np.int64)


@pytest.mark.parametrize(
    ("space", "actions", "taken"),
    [
        (Discrete(2, start=3), [3, 4], [3, 4]),
        (Discrete(2), np.array([True, False]), [1, 0]),
        (Discrete(3), [2.0, 0.0], [2, 0]),
        (MultiDiscrete([2, 3]), [[1, 2], [0, 0]], [[1, 2], [0, 0]]),
        (MultiBinary(2), [[1, 0], [0, 0]], [[1, 0], [0, 0]]),
        (ARM, [[-1000.0005, 0], [5, 10.000001]], [[-1000.0005, 0], [5, 10.000001]]),
        (TINY, [[5.00000001e-8], [-1e-15]], [[5.00000001e-8], [-1e-15]]),
        (HALF_LINE, [[0.0], [1e30]], [[0.0], [1e30]]),
        (WHOLE, [[0], [3.0]], [[0.0], [3.0]]),
    ],
)
def test_actions_of_the_space_are_taken(space: gym.Space[Any], actions: Any, taken: Any) -> None:
    assert checked_actions("mine", actions, 2, space).tolist() == taken


def test_whole_numbers_have_the_dtype_of_the_space() -> None:
    assert checked_actions("mine", [[0.0], [3.0]], 2, WHOLE).dtype == WHOLE.dtype


@pytest.mark.parametrize(
    ("space", "actions", "problem"),
    [
        (Discrete(2, start=3), [3, 99], "in Discrete(2, start=3), got 99"),
        (Discrete(2, start=3), [2, 3], "got 2"),
        (Discrete(5), [0, 3.5], "got 3.5"),
        (Discrete(5), [0, float("nan")], "got nan"),
        (Discrete(5), [[0, 1], [1, 0]], "shape (2,), one for each observation, got an array of int64 of shape (2, 2)"),
        (Discrete(5), [0], "shape (2,)"),
        (Discrete(5), ["left", "right"], "got an array of <U5"),
        (Discrete(5), [[0], [0, 1]], "got an array of object of shape ()"),
        (Discrete(5), None, "got an array of object of shape ()"),
        (MultiDiscrete([2, 3]), [[1, 3], [0, 0]], "got [1, 3]"),
        (MultiBinary(2), [[1, 2], [0, 0]], "got [1, 2]"),
        (ARM, [[-1001, 0], [5, 10]], "got [-1001, 0]"),
        (ARM, [[0, 0], [0, float("inf")]], "got [0.0, inf]"),
        (TINY, [[1e-7], [0]], "got [1e-07]"),
        (TINY, [[0], [-1e-9]], "got [-1e-09]"),
        (HALF_LINE, [[-1e-9], [0]], "got [-1e-09]"),
        (WHOLE, [[0], [0.5]], "got [0.5]"),
        (WHOLE, [[0], [3.000001]], "got [3.000001]"),
        (ARM, [0, 1], "shape (2, 2)"),
    ],
)
def test_others_are_refused_by_the_functions_name(space: gym.Space[Any], actions: Any, problem: str) -> None:
    with pytest.raises(InvalidOption) as refusal:
        checked_actions("mine", actions, 2, space)
    assert str(refusal.value).startswith("policy mine: expected actions ")
    assert problem in str(refusal.value)
