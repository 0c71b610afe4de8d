"""Noise for exploration: its size at each step, and how long it is alike."""

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray

from polserve.training.learning.agents.noise import CorrelatedNoise


def steps(longest: int, n: int = 3_000) -> NDArray[np.float64]:
    """Draw noise (n, 50) of steps of 50 environments."""
    noise, rng = CorrelatedNoise(1, longest), np.random.default_rng(0)
    return np.array([noise.draw(50, rng)[:, 0] for _ in range(n)])


@pytest.mark.parametrize("longest", [1, 2, 64])
def test_noise_is_standard_normal_at_every_step_however_long_it_is_alike(longest: int) -> None:
    drawn = steps(longest)
    assert drawn.mean() == pytest.approx(0, abs=0.05)
    assert drawn.std() == pytest.approx(1, abs=0.05)
    assert drawn[0].std() == pytest.approx(drawn[-1].std(), abs=0.4)


def test_noise_without_memory_draws_what_the_generator_does() -> None:
    noise = CorrelatedNoise(2, 1)
    ours, plain = np.random.default_rng(3), np.random.default_rng(3)
    for _ in range(3):
        assert noise.draw(4, ours) == pytest.approx(plain.standard_normal((4, 2)))
    assert noise.draw_uniform(4, ours) == pytest.approx(plain.uniform(-1, 1, (4, 2)))


def test_noise_with_memory_is_alike_for_as_long_and_no_longer() -> None:
    drawn = steps(64)
    alike = [float(np.mean(drawn[lag:] * drawn[: len(drawn) - lag])) for lag in (1, 16, 64, 600)]
    assert alike == sorted(alike, reverse=True)
    assert alike[0] > 0.7
    assert alike[1] > 0.2
    assert abs(alike[3]) < 0.05


@pytest.mark.parametrize("longest", [1, 64])
def test_random_actions_are_equally_likely_over_the_whole_range(longest: int) -> None:
    noise, rng = CorrelatedNoise(1, longest), np.random.default_rng(0)
    drawn = np.array([noise.draw_uniform(50, rng) for _ in range(2_000)])
    assert np.abs(drawn).max() <= 1
    counts, _ = np.histogram(drawn, bins=5, range=(-1, 1))
    assert counts / drawn.size == pytest.approx(0.2, abs=0.02)


def test_random_actions_that_are_alike_for_a_while_get_a_car_out_of_a_valley() -> None:
    reached = {}
    for longest in (1, 64):
        envs = gym.make_vec("MountainCarContinuous-v0", 8, vectorization_mode="sync")
        envs.reset(seed=0)
        noise, rng = CorrelatedNoise(1, longest), np.random.default_rng(0)
        has_ended = np.zeros(8, np.bool_)
        for _ in range(998):  # before the time limit
            has_ended |= envs.step(noise.draw_uniform(8, rng).astype(np.float32))[2]
        envs.close()
        reached[longest] = int(has_ended.sum())
    assert reached[1] == 0
    assert reached[64] >= 4
