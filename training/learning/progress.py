"""Where training stands while it runs, and what it ended with, for those who watch it."""

from collections.abc import Mapping
from dataclasses import dataclass

from polserve.training.learning.agents.agent import Weights


@dataclass(frozen=True, slots=True)
class Progress:
    """Where training stands after a step of all environments."""

    step: int
    """Environment steps that were learned from."""
    steps: int
    """Such steps that were asked for: training ends with the step of all environments that reaches them, or before."""
    selection_steps: int
    """Environment steps of the greedy evaluations, which come on top."""
    episodes: int
    best_score: float | None
    """Score of the best greedy evaluation; None before the first."""
    is_report_due: bool
    """Whether `log_every` steps went by, or training is over and its last step was not reported yet."""
    is_over: bool = False
    """Whether nothing more is learned, at the end or because that was asked for."""


@dataclass(frozen=True, slots=True)
class TrainingFigures:
    """What can be told of training since it was last told."""

    recent_return: float | None
    """Mean over the latest training episodes; None before the first ended."""
    environment_steps_per_s: float
    """Steps of the environments alone, with what they do to their frames."""
    samples_per_s: float
    """Transitions learned from, the learner alone; 0 before it began."""
    metrics: Mapping[str, float]
    """Figures of agent and loop, by metric path."""


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """Best weights, and the story of training."""

    weights: Weights
    """Weights of the best greedy evaluation; the latest where training was asked to stop before the first."""
    best_score: float
    """Score of these weights; NaN where training was asked to stop before the first evaluation."""
    step: int
    """Environment steps that were learned from."""
    episodes: int
    curve: list[tuple[int, float]]
    """(step, score) of every greedy evaluation."""
    score_name: str
    """What the scores are."""
    is_complete: bool
    """False when training was asked to stop before its end."""
    selection_steps: int = 0
    """Environment steps of the greedy evaluations, which come on top."""
    reward_factor: float = 1.0
    """Constant factor that rewards were learned from times; the policy's values are in their own units again."""
    elapsed_s: float = 0.0
    """Time that training took, with that of the run that it was resumed from."""
