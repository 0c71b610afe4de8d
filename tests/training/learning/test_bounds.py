"""Targets of DQN stay near the returns that rewards allow."""

import math

import numpy as np
import pytest
import torch

from polserve.training.learning.agents.bounds import ReturnBounds

FAR = torch.tensor([-1e6, 0.0, 1e6])


@pytest.mark.parametrize(
    ("rewards", "low", "high"),
    [([1.0, 0.5], 0.0, 20.0), ([-1.0, -0.2], -20.0, 0.0), ([-1.0, 2.0], -20.0, 40.0), ([0.0], 0.0, 0.0)],
)
def test_targets_stay_within_twice_what_the_rewards_would_return_if_paid_for_ever(
    rewards: list[float], low: float, high: float
) -> None:
    kept = ReturnBounds(0.9, 1).keep(FAR, np.array(rewards, np.float32))
    assert kept.tolist() == pytest.approx([low, 0.0, high])


def test_sums_of_several_steps_are_paid_as_often_as_they_last() -> None:
    kept = ReturnBounds(0.9, 3).keep(FAR, np.array([1 + 0.9 + 0.81], np.float32))
    assert float(kept[2]) == pytest.approx(20.0)


def test_bounds_remember_rewards_and_survive_a_checkpoint() -> None:
    bounds, resumed = ReturnBounds(0.9, 1), ReturnBounds(0.9, 1)
    bounds.keep(FAR, np.array([-3.0, 2.0], np.float32))
    resumed.load_state(bounds.state())
    for each in (bounds, resumed):
        assert each.keep(FAR, np.array([0.0], np.float32)).tolist() == pytest.approx([-60.0, 0.0, 40.0])


def test_without_a_discount_there_are_no_bounds() -> None:
    assert math.isclose(float(ReturnBounds(1.0, 1).keep(FAR, np.array([1.0], np.float32))[2]), 1e6)
