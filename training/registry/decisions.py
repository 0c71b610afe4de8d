"""Decisions on candidates as MLflow runs, beside the versions that they were about."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient

from polserve.training.registry.store import registry_errors
from polserve.training.registry.tracking import TrackedRun
from polserve.training.registry.versions import MAX_TAG_LENGTH, Verdict

EXPERIMENT = "polserve-promotions"
"""Apart from training's, whose runs have other parameters and curves."""
LOGGED_MODEL = re.compile("models:/(m-[0-9a-f]+)")
"""Source of a version that was logged by a run; a copy of a version has another."""


@dataclass(frozen=True, slots=True)
class Ballot:
    """Which version is to take whose place."""

    policy: str
    candidate: str
    champion: str | None
    """None where there is none."""

    @property
    def name(self) -> str:
        """Of the candidate, as in cartpole/3."""
        return f"{self.policy}/{self.candidate}"

    @property
    def title(self) -> str:
        """Who stands against whom."""
        return f"promote {self.name} against {self.champion or 'no champion'}"


@dataclass(frozen=True, slots=True)
class Figures:
    """What a decision rests on."""

    params: Mapping[str, object]
    metrics: Mapping[str, float]
    folder: Path
    """Whose files are kept with the run."""


class DecisionLog:
    """Writes a run for each decision."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def write(self, ballot: Ballot, verdict: Verdict, figures: Figures) -> str:
        """A run holds the decision and what it rests on; returns its id."""
        tags = {
            "policy": ballot.policy,
            "candidate": ballot.candidate,
            "champion": ballot.champion or "",
            "decision": verdict.outcome.value,
            "reason": verdict.reason[:MAX_TAG_LENGTH],
        }
        with TrackedRun.start(self._client, EXPERIMENT, ballot.title, tags) as run:
            run.log_params(figures.params)
            run.log_metrics(figures.metrics, 0)
            run.log_files(figures.folder)
            with registry_errors():
                source = self._client.get_model_version(ballot.policy, ballot.candidate).source
            if logged := LOGGED_MODEL.fullmatch(source or ""):
                run.link_model(logged.group(1))
        return run.run_id

    def correct(self, run_id: str, verdict: Verdict) -> None:
        """The run says what came of the decision."""
        with registry_errors():
            self._client.set_tag(run_id, "decision", verdict.outcome.value)
            self._client.set_tag(run_id, "reason", verdict.reason[:MAX_TAG_LENGTH])
