"""Decisions on versions, put on record in a registry as `polserve promote` does it."""

import numpy as np
from mlflow import MlflowClient

from polserve.training.evaluation.comparison import compare
from polserve.training.promotion.decision import Candidacy, Criteria, Decision, DecisionKind
from polserve.training.promotion.evidence import Evidence
from polserve.training.promotion.record import record_decision
from polserve.training.registry.versions import PolicyRegistry

GAMES = 30


def evidence_of(policy: str, gain: float) -> Evidence:
    """Games in which version 2 returned `gain` more than version 1, each."""
    champion = np.random.default_rng(0).normal(100.0, 10.0, GAMES)
    return Evidence(
        candidate=f"{policy}/2",
        champion=f"{policy}/1",
        environment="CartPole-v1",
        first_seed=7,
        max_steps=500,
        candidate_returns=(champion + gain).tolist(),
        champion_returns=champion.tolist(),
        comparison=compare(champion + gain, champion),
        random_mean=20.0,
        loss_allowed=4.0,
    )


def put_on_record(store: MlflowClient, policy: str, kind: DecisionKind, reason: str, gain: float) -> str:
    """Put a decision on version 2 on record, with its games; return the run's id."""
    registry = PolicyRegistry(store)
    decision = Decision(Candidacy(policy, "2", "1", Criteria()), kind, reason, evidence_of(policy, gain))
    decision = record_decision(registry, decision)
    registry.note_decision(policy, "2", kind.value, reason, decision.run_id)
    return decision.run_id
