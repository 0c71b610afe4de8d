"""The past of a policy, as the registry keeps it and the service tells it."""

import json
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from polserve.protos.shared.promotions import COMPARISON_FILE
from polserve.serving.sources import registry_source
from polserve.serving.sources.follower_config import FollowerConfig
from polserve.serving.sources.history import BINS, HistoryReader, summarise
from polserve.serving.sources.registry import Registry
from polserve.training.promotion.decision import DecisionKind
from polserve.training.registry.tracking import TrackedRun
from tests.support.following import serve
from tests.support.proxy import Proxy, answering, none
from tests.support.recording import GAMES, evidence_of, put_on_record
from tests.support.running import Running, page, wait_until

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns at its import and use


def told(running: Running, policy: str) -> dict[str, Any]:
    """What the service tells of a policy's past, once it has asked the registry."""
    found: dict[str, Any] = {}

    def is_known() -> bool:
        status, text = page(f"{running.http_url}/v1/policies/{policy}/history")
        found.update(json.loads(text))
        return status == 200 and found["state"] == "known"

    wait_until(is_known, running.log)
    return found


def test_the_service_tells_moves_decisions_with_their_games_and_rollouts(
    mlflow_url: str, store: MlflowClient, policy: str, tmp_path: Path
) -> None:
    run_id = put_on_record(store, policy, DecisionKind.REFUSED, "it is worse: <b>by 5</b>", -5.0)
    with serve(mlflow_url, policy, tmp_path) as running:
        wait_until(running.is_up, running.log)
        wait_until(lambda: "polserve.rollout.tests" in store.get_model_version(policy, "1").tags, running.log)
        history = told(running, policy)
    assert history["problem"] == ""
    assert [move["version"] for move in history["moves"]] == ["1"]
    refused, first = history["decisions"]
    assert (refused["version"], refused["champion"], refused["kind"]) == ("2", "1", "refused")
    assert (refused["reason"], refused["run_id"]) == ("it is worse: <b>by 5</b>", run_id)
    assert refused["criteria"]["rule"] == "better"
    evidence = refused["evidence"]
    assert evidence["mean_difference"]["value"] == pytest.approx(-5.0)
    assert sum(evidence["candidate_counts"]) == sum(evidence["champion_counts"]) == GAMES
    assert (first["version"], first["kind"], first["reason"]) == ("1", "promoted", "the first version")
    assert [(one["version"], one["service"], one["outcome"]) for one in history["rollouts"]] == [("1", "tests", "live")]


def test_a_registry_that_fails_leaves_the_history_that_was_known_and_says_why(
    proxied: Proxy, policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_source, "HISTORY_AGE_S", 0.0)
    config = FollowerConfig(proxied.url, (policy,), ("champion",), 0.2, str(tmp_path), 2**30, "tests")
    source = registry_source.RegistrySource(config)
    following = source.follow()
    next(following)
    thread = threading.Thread(target=lambda: list(following), daemon=True)
    thread.start()
    try:
        wait_until(lambda: source.history(policy).state == "known")
        known = source.history(policy)
        assert known.record["moves"]
        proxied.fault = answering(503, "gone for lunch")
        wait_until(lambda: source.history(policy).problem != "")
        assert source.history(policy).record == known.record
        proxied.fault = none
        wait_until(lambda: source.history(policy).problem == "")
    finally:
        source.close()
        thread.join()


def test_games_that_are_gone_hide_no_decision(store: MlflowClient, policy: str, mlflow_url: str) -> None:
    tags = {"policy": policy, "candidate": "2", "champion": "1", "decision": "refused", "reason": "it is worse"}
    with TrackedRun.start(store, "polserve-promotions", "promote", tags) as run:
        run.log_params({"rule": "better"})
    reader = HistoryReader(Registry(mlflow_url))
    decision = reader.read(policy)["decisions"][0]
    assert decision["reason"] == "it is worse"
    assert decision["evidence"] is None
    assert decision["problem"] == f"its games cannot be read: there is no {COMPARISON_FILE}"


def test_the_bins_hold_every_game_of_both_sides() -> None:
    evidence = summarise(json.dumps(asdict(evidence_of("cartpole", 40.0))).encode())
    assert len(evidence.candidate_counts) == len(evidence.champion_counts) == BINS
    assert sum(evidence.candidate_counts) == sum(evidence.champion_counts) == GAMES
    assert evidence.low < evidence.champion["mean"] < evidence.candidate["mean"] < evidence.high


def test_games_that_all_returned_the_same_have_bins_all_the_same() -> None:
    recorded = asdict(evidence_of("cartpole", 0.0))
    recorded["candidate_returns"] = recorded["champion_returns"] = [500.0] * GAMES
    evidence = summarise(json.dumps(recorded).encode())
    assert (evidence.low, evidence.high) == (499.5, 500.5)
    assert max(evidence.champion_counts) == GAMES


@pytest.mark.parametrize(
    "change",
    [
        {"candidate_returns": []},
        {"candidate_returns": [1.0, float("nan")]},
        {"champion_returns": [[1.0], [2.0, 3.0]]},
        {"champion_returns": "many"},
        {"comparison": None},
        {"comparison": {"episodes": 30}},
        {"first_seed": "the first"},
        {"loss_allowed": float("inf")},
    ],
    ids=str,
)
def test_a_file_that_is_no_evidence_is_refused(change: dict[str, Any]) -> None:
    recorded = {**asdict(evidence_of("cartpole", 0.0)), **change}
    with pytest.raises(ValueError, match=r"expected|not what|invalid literal|could not convert|inhomogeneous"):
        summarise(json.dumps(recorded).encode())


@pytest.mark.parametrize("text", ["", "[]", "null", "[" * 100_000], ids=["empty", "list", "null", "deep"])
def test_a_file_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - JSON's own error, or ours
        summarise(text.encode())
