"""A run says so where its policy plays no better than random actions, and what would mend that."""

import re
from typing import get_args

import numpy as np
import pytest

from polserve.training.environments.making import EnvironmentSpec
from polserve.training.evaluation.evaluation import Evaluation
from polserve.training.evaluation.statistics import summarise
from polserve.training.learning.progress import TrainingResult
from polserve.training.runs.defaults import Algorithm, recipe_for
from polserve.training.runs.doubts import doubt, exploration_note, scale_note
from polserve.training.runs.presets import PRESETS
from polserve.training.runs.recipe import Recipe, with_options

BY_CHANCE = list(np.random.default_rng(0).normal(10.0, 1.0, 50))
ALIKE = list(np.random.default_rng(1).normal(10.0, 1.0, 50))


def said(
    returns: list[float],
    *options: str,
    algorithm: Algorithm = "dqn",
    steps: int = 100_000,
    by: float = 1,
    factor: float = 1,
) -> str:
    """What is said of these returns beside those of random actions, all times a number; `factor` is of training."""
    environment = "Pendulum-v1" if algorithm == "sac" else "CartPole-v1"
    recipe = with_options(recipe_for(algorithm, EnvironmentSpec(environment), "cart"), options)
    played, random = [by * one for one in returns], [by * one for one in BY_CHANCE]
    result = TrainingResult({}, 0.0, steps, 1, [], "mean return", is_complete=True, reward_factor=factor)
    return doubt(recipe, result, Evaluation("cart", environment, played, random, summarise(played), summarise(random)))


def test_nothing_is_said_of_a_policy_that_plays_better() -> None:
    assert said([one + 1.0 for one in ALIKE]) == ""
    assert said([one - 1.0 for one in ALIKE], by=-1.0) == ""


@pytest.mark.parametrize("less", [0.0, 5.0])
def test_a_policy_that_plays_no_better_is_named_with_both_means(less: float) -> None:
    text = said([one - less for one in ALIKE])
    assert text.startswith("cart plays no better than random actions, as far as these episodes show (mean return ")
    assert text.endswith(" for random actions)")
    assert ";" not in text


def test_means_are_written_as_returns_are() -> None:
    assert re.search(r"\(mean return [\d,]{11,13} against [\d,]{11,13} for random actions\)", said(ALIKE, by=1e8))


def test_a_run_that_ended_before_it_learned_anything_is_told_so() -> None:
    text = said(ALIKE, steps=500)
    assert text.endswith(
        "nothing was learned, since learning starts after 1,000 steps and there were 500: give more "
        "--steps, or --set learning_starts=N"
    )
    assert "nothing was learned" not in said(ALIKE, algorithm="pqn", steps=500), "it keeps no replay"


def test_large_rewards_are_to_be_scaled_where_that_is_not_done() -> None:
    assert "try --set reward_scale=0.001" in said(ALIKE, by=1e4)
    assert "reward_scale" not in said(ALIKE, "reward_scale=0.001", by=1e4)
    assert "reward_scale" not in said(ALIKE, algorithm="sac", by=1e4)
    assert "scale" not in said(ALIKE, by=1e4, factor=1e-3), "that was done by itself"


def test_the_factor_that_rewards_were_learned_from_times_is_told() -> None:
    assert scale_note(1.0) == ""
    assert scale_note(1e4).startswith("returns are so small that rewards were learned from times 10000; ")
    assert scale_note(1e-3).startswith("returns are so large that rewards were learned from times 0.001; ")


def test_small_rewards_are_to_be_scaled_only_where_that_was_turned_off() -> None:
    advice = "returns as small are hardly learned: try --set scale_by_returns=auto"
    assert advice in said(ALIKE, "scale_by_returns=false", by=1e-4)
    assert "scale" not in said(ALIKE, "scale_by_returns=false")
    assert "scale" not in said(ALIKE, "scale_by_returns=true", by=1e-4)
    assert "scale" not in said(ALIKE, by=1e-4, factor=1e4)
    assert "scale" not in said([0.0] * 50, "scale_by_returns=false", by=0)


def recipe_of(algorithm: Algorithm, *options: str) -> Recipe:
    environment = "Pendulum-v1" if algorithm in {"ddpg", "td3", "sac"} else "CartPole-v1"
    return with_options(recipe_for(algorithm, EnvironmentSpec(environment), "any"), options)


@pytest.mark.parametrize("algorithm", ["ddpg", "td3", "sac"])
def test_a_run_of_mostly_random_steps_is_told_so(algorithm: Algorithm) -> None:
    assert exploration_note(recipe_of(algorithm, "steps=5100")) == (
        "actions are random for the first 5,000 steps, and there are 5,100: give more --steps, or --set random_steps=N"
    )
    assert exploration_note(recipe_of(algorithm, "steps=5000", "random_steps=500")) == ""


@pytest.mark.parametrize(
    ("algorithm", "falls_over", "last"), [("dqn", "20,000", "0.81"), ("pqn", "10,000", "0.62")], ids=["dqn", "pqn"]
)
def test_a_run_that_ends_while_epsilon_is_high_is_told_so(algorithm: Algorithm, falls_over: str, last: str) -> None:
    assert exploration_note(recipe_of(algorithm, "steps=4000")) == (
        f"epsilon, the part of random actions, falls over {falls_over} steps and is {last} after 4,000: give more "
        "--steps, or --set epsilon_steps=N for it to fall sooner"
    )
    assert exploration_note(recipe_of(algorithm, "steps=4000", "epsilon_steps=1200")) == ""


@pytest.mark.parametrize(
    "recipe",
    [
        *PRESETS.values(),
        *(recipe_of(algorithm) for algorithm in get_args(Algorithm)),
        recipe_of("dqn", "steps=20000"),
        recipe_of("sac", "steps=10000"),
    ],
    ids=lambda recipe: f"{recipe.policy}-{recipe.loop.steps}",
)
def test_nothing_is_said_of_exploration_that_comes_to_its_end(recipe: Recipe) -> None:
    assert exploration_note(recipe) == ""
