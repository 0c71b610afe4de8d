"""What to say of a run: of its exploration, its rewards, and a policy that plays no better than random actions."""

import math

from polserve.protos.shared.figures import figure
from polserve.training.evaluation.evaluation import Evaluation
from polserve.training.evaluation.statistics import ReturnSummary
from polserve.training.learning.actor_critic_hyperparameters import DdpgConfig, SacConfig
from polserve.training.learning.hyperparameters import PqnConfig
from polserve.training.learning.progress import TrainingResult
from polserve.training.learning.return_scale import SMALL
from polserve.training.runs.recipe import Recipe

GOOD_RETURN, LARGE_RETURN = 100.0, 3_000.0
"""Size of returns that DQN and PQN learn well, and one from which their values grow too slowly towards them."""

UNEXPLORED = 0.5
"""Epsilon above `epsilon_end` from which a run that ends there is said to be too short."""


def exploration_note(recipe: Recipe) -> str:
    """Return a sentence on exploration that is far from its end when the steps are used; "" where it is not."""
    steps = recipe.loop.steps
    if isinstance(recipe.agent, (DdpgConfig, SacConfig)):
        if steps >= 2 * recipe.agent.random_steps:
            return ""
        return (
            f"actions are random for the first {recipe.agent.random_steps:,} steps, and there are {steps:,}: give more "
            "--steps, or --set random_steps=N"
        )
    exploration = recipe.exploration
    last = exploration.epsilon(steps)
    if last < exploration.epsilon_end + UNEXPLORED:
        return ""
    return (
        f"epsilon, the part of random actions, falls over {exploration.epsilon_steps:,} steps and is {last:.2f} after "
        f"{steps:,}: give more --steps, or --set epsilon_steps=N for it to fall sooner"
    )


def doubt(recipe: Recipe, result: TrainingResult, evaluation: Evaluation) -> str:
    """Return a sentence on a policy that is not shown to play better than random actions; "" where it is."""
    if evaluation.summary.interval_low > evaluation.random_summary.mean:
        return ""
    means = figure(evaluation.mean), figure(evaluation.random_summary.mean)
    compared = f"mean return {means[0]} against {means[1]} for random actions"
    said = f"{recipe.policy} plays no better than random actions, as far as these episodes show ({compared})"
    return f"{said}; {advice}" if (advice := _advice(recipe, result, evaluation)) else said


def scale_note(reward_factor: float) -> str:
    """Return a sentence on the factor that rewards were learned from times; "" where they were as they are."""
    if reward_factor == 1:
        return ""
    size = "small" if reward_factor > 1 else "large"
    return (
        f"returns are so {size} that rewards were learned from times {reward_factor:g}; returns, and the values that "
        "the policy answers, are in the environment's own units"
    )


def _advice(recipe: Recipe, result: TrainingResult, evaluation: Evaluation) -> str:
    """Return what would mend it, where that is known."""
    starts = recipe.replay.learning_starts
    if not isinstance(recipe.agent, PqnConfig) and result.step < starts:
        return (
            f"nothing was learned, since learning starts after {starts:,} steps and there were {result.step:,}: "
            "give more --steps, or --set learning_starts=N"
        )
    size = max(_size(evaluation.summary), _size(evaluation.random_summary))
    rewards = recipe.rewards
    if rewards.scale_by_returns is not True and rewards.reward_treatment == "none":
        scaled = size * rewards.reward_scale * result.reward_factor
        if scaled > LARGE_RETURN:
            factor = 10.0 ** round(math.log10(GOOD_RETURN / size))
            return f"returns as large are learned slowly: try --set reward_scale={factor:g}"
        if 0 < scaled < SMALL and not rewards.scale_by_returns:
            return "returns as small are hardly learned: try --set scale_by_returns=auto"
    return ""


def _size(summary: ReturnSummary) -> float:
    return max(abs(summary.interval_low), abs(summary.interval_high))
