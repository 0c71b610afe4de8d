"""A service that follows the aliases of a real MLflow registry."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from protos.names import CHAMPION, SHA256_TAG
from serving.client import PolicyClient
from tests.registry.following import OBSERVATION, SERVE, answering, live, register, serve, version
from tests.support import environment, service, wait_until
from training.registry.versions import PolicyRegistry

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns at its import and use


def test_the_service_follows_the_alias_without_a_restart_and_tags_the_versions(
    mlflow_url: str, store: MlflowClient, policy: str, tmp_path: Path
) -> None:
    registry = PolicyRegistry(store)
    with serve(mlflow_url, policy, tmp_path) as running:
        wait_until(lambda: running.ready()["ready"] is True, running.log)
        assert answering(running, policy) == "1"

        registry.promote(policy, "2", "for the test")
        wait_until(lambda: answering(running, policy) == "2", running.log)
        assert registry.rollback(policy) == ("2", "1")
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


def test_a_policy_whose_alias_is_deleted_stops_answering(
    mlflow_url: str, store: MlflowClient, policy: str, tmp_path: Path
) -> None:
    with serve(mlflow_url, policy, tmp_path) as running:
        wait_until(lambda: running.ready()["ready"] is True, running.log)
        store.delete_registered_model_alias(policy, CHAMPION)
        wait_until(lambda: running.ready()["ready"] is False, running.log)
