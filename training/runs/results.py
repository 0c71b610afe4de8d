"""What a run leaves for people in the folder of its report, and the figures that MLflow keeps of it."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from polserve.training.environments.making import make_env
from polserve.training.errors import UnsupportedEnvironment
from polserve.training.learning.agents.agent import Agent
from polserve.training.learning.loop import Outcome
from polserve.training.runs.recipe import Recipe
from polserve.training.runs.report import EvaluationResult, write_report
from polserve.training.runs.stages import Stages
from polserve.training.tasks.adbudget.environment import AllocationEnv
from polserve.training.tasks.adbudget.evaluation import Comparison, compare, parts
from polserve.training.tasks.adbudget.fit import Fit
from polserve.training.tasks.adbudget.report import sentence, write_allocation_report


@dataclass(frozen=True, slots=True)
class Results:
    """A run that was evaluated."""

    recipe: Recipe
    agent: Agent
    outcome: Outcome
    evaluation: EvaluationResult
    fit: Fit | None
    """Of the history that an allocator's channels come from."""

    def write(self, folder: Path, stages: Stages, console: Console) -> dict[str, float]:
        """Write plots and tables into `folder`, say what an allocator misses, and return the figures by metric path."""
        with stages.stage("drawing the learning curve and the returns"):
            write_report(folder, self.outcome, self.evaluation)
        summary = self.evaluation.summary
        metrics = {"evaluation/mean": summary.mean, "evaluation/iqm": summary.iqm}
        if self.recipe.is_allocation:
            comparison = self._compare(stages)
            with stages.stage("drawing the curves and the plans"):
                write_allocation_report(folder, self.recipe.policy, comparison, self.fit)
            _print(comparison, console)
            metrics["evaluation/mean_regret"] = comparison.policy.mean_regret
            metrics["evaluation/p95_regret"] = comparison.policy.p95_regret
        return metrics

    def _compare(self, stages: Stages) -> Comparison:
        environment = self.recipe.environment
        env = make_env(environment)
        account = env.unwrapped
        env.close()
        if not isinstance(account, AllocationEnv):
            raise UnsupportedEnvironment(f"{environment.id}: expected an environment of budgets")
        contexts = self.recipe.loop.evaluation_episodes
        with stages.stage("comparing with the best plans", parts(account.scenario, self.fit)) as stage:
            return compare(self.agent.policy(), account.scenario, contexts, self.fit, stage.advance)


def _print(comparison: Comparison, console: Console) -> None:
    for line in comparison.lines:
        console.print(f"regret {line.mean_regret:8.3%}, 95th percentile {line.p95_regret:8.3%}  {line.name}")
    for difference in comparison.differences:
        console.print(sentence(difference, comparison.policy.contexts))
