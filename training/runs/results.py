"""What a run leaves for people in the folder of its report, and the figures that MLflow keeps of it."""

from dataclasses import dataclass
from pathlib import Path

from polserve.training.learning.agents.agent import Agent
from polserve.training.learning.loop import Outcome
from polserve.training.runs.report import EvaluationResult, write_report
from polserve.training.tasks.task import Narrator, ReportRequest, WriteReport


@dataclass(frozen=True, slots=True)
class Results:
    """A run that was evaluated."""

    agent: Agent
    outcome: Outcome
    evaluation: EvaluationResult
    write_more: WriteReport
    """The report of the run's task."""

    def write(self, folder: Path, narrator: Narrator) -> dict[str, float]:
        """Write plots and tables into `folder`, and those of the task; return the figures by metric path."""
        evaluation = self.evaluation
        with narrator.stage("drawing the learning curve and the returns"):
            write_report(folder, self.outcome, evaluation)
        figures = {"evaluation/mean": evaluation.summary.mean, "evaluation/iqm": evaluation.summary.iqm}
        request = ReportRequest(evaluation.policy, self.agent.policy(), len(evaluation.returns), folder)
        return figures | self.write_more(request, narrator)
