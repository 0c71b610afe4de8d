"""The record of a decision: an MLflow run beside the version that it was about, and tags of that version."""

import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from polserve.protos.shared.promotions import PROMOTIONS_EXPERIMENT
from polserve.training.promotion.decision import Decision
from polserve.training.promotion.evidence import metrics, write_evidence
from polserve.training.registry.tracking import TrackedRun, tag_run
from polserve.training.registry.versions import MAX_TAG_LENGTH, PolicyRegistry


def record_decision(registry: PolicyRegistry, decision: Decision) -> Decision:
    """Write a run with the decision and what it rests on; return the decision with the run's id."""
    candidacy, evidence = decision.candidacy, decision.evidence
    tags = {"policy": candidacy.policy, "candidate": candidacy.candidate, "champion": candidacy.champion or ""}
    with TrackedRun.start(registry.client, PROMOTIONS_EXPERIMENT, candidacy.title, {**tags, **_tags(decision)}) as run:
        if evidence is not None:
            games = ("max_steps", "first_seed", "environment", "random_mean", "loss_allowed")
            given = {name: value for name, value in asdict(candidacy.criteria).items() if value is not None}
            run.log_params({**given, **{name: getattr(evidence, name) for name in games}})
            run.log_metrics(metrics(evidence.comparison), 0)
            with tempfile.TemporaryDirectory() as folder:
                write_evidence(Path(folder), evidence)
                run.log_files(Path(folder))
        if logged := registry.logged_model(candidacy.policy, candidacy.candidate):
            run.link_model(logged)
    return replace(decision, run_id=run.run_id)


def correct_record(registry: PolicyRegistry, decision: Decision) -> None:
    """Write into the decision's run what it turned out to be."""
    tag_run(registry.client, decision.run_id, _tags(decision))


def _tags(decision: Decision) -> dict[str, str]:
    return {"decision": decision.kind.value, "reason": decision.reason[:MAX_TAG_LENGTH]}
