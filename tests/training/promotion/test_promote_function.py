"""`promote` and `rollback` as functions: what they return and raise, and what they leave alone."""

import os
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient

from polserve.protos.shared.names import SHA256_TAG
from polserve.training.errors import InvalidOption, PromotionRefused, RaceLost, RegistryError
from polserve.training.promotion.decision import Decision, DecisionKind
from polserve.training.promotion.promote import promote
from polserve.training.promotion.record import record_decision
from polserve.training.promotion.rollback import rollback
from polserve.training.registry import aliases
from polserve.training.registry.versions import PolicyRegistry
from tests.support.promoting import champion, decision_run

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns at its import and use


@pytest.fixture(autouse=True)
def _is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aliases, "SETTLE_S", 0.0)


@pytest.fixture
def uri(mlflow_url: str, policy: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The registry's address, which no variable tells."""
    assert policy
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    return mlflow_url


@pytest.fixture
def like(store: MlflowClient, policy: str) -> str:
    """A candidate that is the champion again: version 3 of the policy."""
    copied = store.copy_model_version(f"models:/{policy}/1", policy)
    sha256 = store.get_model_version(policy, "1").tags[SHA256_TAG]
    store.set_model_version_tag(policy, str(copied.version), SHA256_TAG, sha256)
    return f"{policy}/{copied.version}"


def test_a_refused_candidate_raises_with_the_decision_and_every_return(
    store: MlflowClient, policy: str, like: str, uri: str
) -> None:
    with pytest.raises(PromotionRefused, match="it is not shown to be better") as refused:
        promote(like, episodes=30, processes=1, tracking_uri=uri)
    decision = refused.value.decision
    assert decision is not None
    assert decision.evidence is not None
    assert decision.kind is DecisionKind.REFUSED
    assert not decision.is_champion
    assert len(decision.evidence.candidate_returns) == len(decision.evidence.champion_returns) == 30
    assert decision_run(store, policy, "3").info.run_id == decision.run_id
    assert champion(store, policy) == "1"


def test_a_rule_is_named_by_its_text_and_the_decision_is_returned(
    store: MlflowClient, policy: str, like: str, uri: str
) -> None:
    decision = promote(like, rule="not-worse", episodes=30, processes=1, tracking_uri=uri)
    assert (decision.kind, decision.is_champion) == (DecisionKind.PROMOTED, True)
    assert (decision.candidacy.candidate, decision.candidacy.champion) == ("3", "1")
    assert champion(store, policy) == "3"


def test_a_version_is_forced_with_a_reason_and_rolled_back(store: MlflowClient, policy: str, uri: str) -> None:
    decision = promote(policy, force_reason="measured on the robot", tracking_uri=uri)
    assert (decision.kind, decision.reason) == (DecisionKind.FORCED, "measured on the robot")
    assert promote(policy, tracking_uri=uri).kind is DecisionKind.STANDING
    move = rollback(policy, tracking_uri=uri)
    assert (move.version, move.replaces, move.is_rollback) == ("1", "2", True)
    assert champion(store, policy) == "1"


def test_a_candidate_that_came_too_late_raises_with_its_decision(
    store: MlflowClient, policy: str, like: str, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def record_late(registry: PolicyRegistry, decision: Decision) -> Decision:
        store.set_registered_model_alias(policy, "champion", "2")
        return record_decision(registry, decision)

    monkeypatch.setattr("polserve.training.promotion.promote.record_decision", record_late)
    with pytest.raises(RaceLost) as lost:
        promote(like, force_reason="a race", tracking_uri=uri)
    assert lost.value.decision is not None
    assert lost.value.decision.kind is DecisionKind.LOST
    assert decision_run(store, policy, "3").data.tags["decision"] == "lost"


def test_they_print_nothing_and_set_nothing_of_the_process(
    policy: str, uri: str, capfd: pytest.CaptureFixture[str]
) -> None:
    before, tracking_uri = dict(os.environ), mlflow.get_tracking_uri()
    capfd.readouterr()
    promote(policy, force_reason="for the test", tracking_uri=uri)
    rollback(policy, tracking_uri=uri)
    assert capfd.readouterr() == ("", "")
    assert (dict(os.environ), mlflow.get_tracking_uri()) == (before, tracking_uri)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "lucky"}, "rule: expected better or not-worse, got 'lucky'"),
        ({"margin": 2.0}, r"margin: expected 0 to 1, got 2\.0"),
        ({"episodes": 5}, "episodes: expected 30 to 10,000, got 5"),
        ({"max_steps": 0}, "max_steps: expected 1 or more, got 0"),
        ({"processes": -1}, "processes: expected 0 or more, got -1"),
        ({"seed": -1}, "seed: expected 0 to 2,147,473,647, got -1"),
    ],
)
def test_an_argument_out_of_range_is_named_before_anything_is_asked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        promote("cartpole", tracking_uri="http://mlflow.invalid", **options)


def test_an_address_that_is_none_is_told_as_the_argument() -> None:
    with pytest.raises(RegistryError, match="tracking_uri: expected http://, https:// or a database URI"):
        rollback("cartpole", tracking_uri="mlflow.example:5000")
