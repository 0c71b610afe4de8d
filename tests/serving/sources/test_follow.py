"""A service that follows the aliases of a real MLflow registry."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from polserve.protos.shared.alias_history import HISTORY_TAG, parse_history, points_at
from polserve.protos.shared.names import CHAMPION, SHA256_TAG
from polserve.serving.client import PolicyClient
from polserve.serving.sources.cache import VersionCache
from polserve.serving.sources.follower import Follower, last_good
from polserve.serving.sources.follower_config import FollowerConfig
from polserve.serving.sources.registry import Registry
from polserve.training.promotion.rollback import rollback
from polserve.training.registry.store import connect
from tests.support.following import OBSERVATION, SERVE, answering, live, promoted, register, serve, version
from tests.support.proxy import proxy
from tests.support.running import environment, service, wait_until
from tests.support.stores import new_store

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns at its import and use


def test_the_service_follows_the_alias_without_a_restart_and_tags_the_versions(
    mlflow_url: str, store: MlflowClient, policy: str, tmp_path: Path
) -> None:
    with serve(mlflow_url, policy, tmp_path) as running:
        wait_until(lambda: running.ready()["ready"] is True, running.log)
        assert answering(running, policy) == "1"

        promoted(store, policy, "2", "for the test")
        wait_until(lambda: answering(running, policy) == "2", running.log)
        assert rollback(policy, tracking_uri=mlflow_url).version == "1"
        wait_until(lambda: answering(running, policy) == "1", running.log)

        with PolicyClient(running.target) as client:
            actions = client.act(policy, OBSERVATION).action
        assert (actions == version("registered", 0).golden["action"]).all()
        assert "polserve_registry_up 1.0" in running.metrics()
        wait_until(lambda: "polserve.rollout.tests" in store.get_model_version(policy, "2").tags)
    assert store.get_model_version(policy, "2").tags["polserve.rollout.tests"].startswith("live 20")


def test_several_aliases_are_served_at_once_and_a_deleted_one_goes(
    mlflow_url: str, store: MlflowClient, policy: str, tmp_path: Path
) -> None:
    store.set_registered_model_alias(policy, "challenger", "2")
    with serve(mlflow_url, policy, tmp_path, "--alias", "champion", "--alias", "challenger") as running:
        wait_until(lambda: live(running, policy) == {"champion": "1", "challenger": "2"}, running.log)
        assert answering(running, policy) == "1"
        assert answering(running, policy, "@challenger") == "2"
        store.delete_registered_model_alias(policy, "challenger")
        wait_until(lambda: live(running, policy) == {"champion": "1"}, running.log)


def test_a_version_changed_after_registration_is_refused_and_tagged_with_the_reason(
    mlflow_url: str, store: MlflowClient, policy: str, tmp_path: Path
) -> None:
    store.set_model_version_tag(policy, "2", SHA256_TAG, "0" * 64)
    with serve(mlflow_url, policy, tmp_path) as running:
        wait_until(lambda: running.ready()["ready"] is True, running.log)
        store.set_registered_model_alias(policy, CHAMPION, "2")
        tag = "polserve.rollout.tests"
        wait_until(lambda: tag in store.get_model_version(policy, "2").tags, running.log)
        reason = store.get_model_version(policy, "2").tags[tag]
        assert reason.startswith("refused 20")
        assert "sha256 of model.onnx: expected 0000" in reason
        assert answering(running, policy) == "1", "what was live stays live"
        assert running.ready()["ready"] is True
        assert f'polserve_rollouts_total{{outcome="refused",policy="{policy}"}} 1.0' in running.metrics()


def test_all_policies_are_served_by_their_tag(
    mlflow_url: str, store: MlflowClient, policy: str, tmp_path: Path
) -> None:
    store.create_registered_model("no-policy")
    env = environment(MLFLOW_TRACKING_URI=mlflow_url)
    with service(*SERVE, "--cache-dir", str(tmp_path), folder=tmp_path, env=env) as running:
        wait_until(lambda: live(running, policy) == {"champion": "1"}, running.log)
        assert "no-policy" not in running.ready()["policies"]
        other = register_other(store)
        wait_until(lambda: live(running, other) == {"champion": "1"}, running.log)
        wait_until(lambda: "polserve.rollout.tests" in store.get_model_version(other, "1").tags)
        store.delete_registered_model(other)
        wait_until(lambda: live(running, other) is None, running.log)
        assert answering(running, policy) == "1"


def register_other(store: MlflowClient) -> str:
    register(store, "another-policy", 0)
    return "another-policy"


def test_a_version_that_is_deleted_while_it_answers_goes_on_where_the_policy_is_required(
    mlflow_url: str, store: MlflowClient, policy: str, tmp_path: Path
) -> None:
    with serve(mlflow_url, policy, tmp_path) as running:
        wait_until(lambda: running.ready()["ready"] is True, running.log)
        store.delete_model_version(policy, "1")  # which takes the alias away
        wait_until(lambda: "no version has the alias @champion" in running.ready()["registry"]["error"], running.log)
        assert answering(running, policy) == "1"
        assert running.ready()["ready"] is True
        store.set_registered_model_alias(policy, CHAMPION, "2")
        wait_until(lambda: answering(running, policy) == "2", running.log)


def test_two_aliases_on_one_version_are_one_version(
    mlflow_url: str, store: MlflowClient, policy: str, tmp_path: Path
) -> None:
    store.set_registered_model_alias(policy, "challenger", "1")
    with serve(mlflow_url, policy, tmp_path, "--alias", "champion", "--alias", "challenger") as running:
        wait_until(lambda: live(running, policy) == {"champion": "1", "challenger": "1"}, running.log)
        with PolicyClient(running.target) as client:
            (info,) = client.policies()
        assert [version.version for version in info.versions] == ["1"]
        assert f'polserve_rollouts_total{{outcome="live",policy="{policy}"}} 1.0' in running.metrics()


def test_an_alias_that_is_moved_and_moved_back_between_two_looks_changes_nothing(
    mlflow_url: str, store: MlflowClient, policy: str, tmp_path: Path
) -> None:
    with serve(mlflow_url, policy, tmp_path, "--poll-interval", "1") as running:
        wait_until(lambda: running.ready()["ready"] is True, running.log)
        looked = running.ready()["registry"]["last_success_timestamp_seconds"]
        wait_until(lambda: running.ready()["registry"]["last_success_timestamp_seconds"] > looked)
        store.set_registered_model_alias(policy, CHAMPION, "2")
        store.set_registered_model_alias(policy, CHAMPION, "1")
        looked = running.ready()["registry"]["last_success_timestamp_seconds"]
        wait_until(lambda: running.ready()["registry"]["last_success_timestamp_seconds"] > looked)
        assert running.log.read_text().count("event=aliases_switched") == 1
        assert answering(running, policy) == "1"


def test_moves_made_by_hand_are_on_record_and_can_be_rolled_back(
    mlflow_url: str, store: MlflowClient, policy: str, tmp_path: Path
) -> None:
    with serve(mlflow_url, policy, tmp_path) as running:
        wait_until(lambda: running.ready()["ready"] is True, running.log)
        for version in ("2", "1"):
            store.set_registered_model_alias(policy, CHAMPION, version)
            wait_until(lambda version=version: points_at(record(store, policy), version), running.log)  # type: ignore[misc]
    moves = parse_history(record(store, policy))
    assert [move.version for move in moves] == ["1", "2", "1"]
    assert [move.by for move in moves[1:]] == ["seen by tests"] * 2


def record(store: MlflowClient, policy: str) -> str:
    return str(store.get_registered_model(policy).tags.get(HISTORY_TAG, ""))


def test_a_look_at_a_policy_that_has_not_changed_is_one_request(mlflow_url: str, policy: str, tmp_path: Path) -> None:
    with proxy(mlflow_url) as before, serve(before.url, policy, tmp_path) as running:
        wait_until(lambda: running.ready()["ready"] is True, running.log)
        wait_until(lambda: any("set-tag" in request.path for request in before.requests), running.log)
        start = len(before.requests)
        wait_until(lambda: len(before.requests) > start + 5)
        seen = {
            request.path.split("?")[0].rsplit("/", 2)[-2:] == ["registered-models", "get"]
            for request in before.requests[start:]
        }
        assert seen == {True}


@pytest.mark.acceptance
def test_the_embedded_store_is_followed_where_the_full_mlflow_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = new_store(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)
    register(connect(), "embedded", 0)
    with serve(uri, "embedded", tmp_path) as running:
        wait_until(lambda: running.ready()["ready"] is True, running.log)
        assert answering(running, "embedded") == "1"


def test_a_version_that_went_live_after_the_alias_moved_on_is_kept_as_the_last_good_one(
    mlflow_url: str, store: MlflowClient, policy: str, tmp_path: Path
) -> None:
    config = FollowerConfig(mlflow_url, (policy,), (CHAMPION,), 1.0, str(tmp_path), 2**30, "tests")
    cache = VersionCache(tmp_path)
    follower = Follower(config, Registry(mlflow_url), cache)
    for number in ("1", "2", "1"):
        store.set_registered_model_alias(policy, CHAMPION, number)
        assert follower.desired()[policy][CHAMPION].version == number
    follower.record([], {policy: {CHAMPION: "2"}})
    assert last_good(config, cache)[policy][CHAMPION].version == "2"
    assert (tmp_path / policy / "1").is_dir(), "which is named"
