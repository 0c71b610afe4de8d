"""Training, registry, service and client together, on a real MLflow server over HTTP."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

from protos.names import CHAMPION, SHA256_TAG
from serving.client import PolicyClient
from tests.support import Running, environment, free_port, make_version, mlflow_server, service, wait_until
from training.errors import RegistryError
from training.export import PolicyVersion
from training.registry.store import connect
from training.registry.tracking import TrackedRun
from training.registry.versions import HISTORY_TAG, PolicyRegistry, VersionName

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns at its import and use

OBSERVATION = make_version().golden["observation"]
SERVE = ("--poll-interval", "0.3", "--service", "tests")


@pytest.fixture
def store(mlflow_url: str, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
    return connect()


@pytest.fixture(scope="module")
def registered(mlflow_url: str) -> str:
    """A policy that the pipeline's own code registered twice: versions 1 and 2, which act differently."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
        for seed in (0, 1):
            register(connect(), "registered", seed)
    return "registered"


@pytest.fixture
def policy(store: MlflowClient, registered: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A name of this test's own with the same two versions; 1 is champion."""
    name = request.node.name.replace("[", "_").replace("]", "")[:60]
    for number in ("1", "2"):
        copied = store.copy_model_version(f"models:/{registered}/{number}", name)
        sha256 = store.get_model_version(registered, number).tags[SHA256_TAG]
        store.set_model_version_tag(name, str(copied.version), SHA256_TAG, sha256)
    store.set_registered_model_tag(name, "polserve.policy", "true")
    PolicyRegistry(store).promote(name, "1", "the first version")
    yield name
    store.delete_registered_model(name)


def register(store: MlflowClient, name: str, seed: int) -> str:
    run = TrackedRun.start(store, "tests", name, {})
    with run:
        return PolicyRegistry(store).register(version(name, seed), run.run_id)


def version(name: str, seed: int) -> PolicyVersion:
    return make_version(seed, name=name, mean=100.0 - 50 * seed)


def serve(url: str, policy: str, folder: Path, *options: str) -> AbstractContextManager[Running]:
    cache = ("--cache-dir", str(folder / "cache"))
    return service(
        *("--policy", policy, *SERVE, *cache, *options), folder=folder, env=environment(MLFLOW_TRACKING_URI=url)
    )


def answering(running: Running, policy: str, version: str = "") -> str:
    with PolicyClient(running.target) as client:
        return client.act(policy, OBSERVATION[0], version=version).version


def live(running: Running, policy: str) -> object:
    return running.ready()["policies"].get(policy)


def test_a_version_is_registered_with_its_tags_and_the_first_is_champion(store: MlflowClient, registered: str) -> None:
    model = store.get_registered_model(registered)
    assert model.tags["polserve.policy"] == "true"
    assert {alias: str(number) for alias, number in model.aliases.items()} == {CHAMPION: "1"}
    assert store.get_model_version(registered, "1").tags[SHA256_TAG] == version(registered, 0).sha256


def test_a_registered_version_is_a_complete_mlflow_model_in_one_graph(
    store: MlflowClient, policy: str, tmp_path: Path
) -> None:
    folder = PolicyRegistry(store).download(policy, "1", tmp_path)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"MLmodel", "model.onnx", "extra_files/golden.npz"} <= names
    assert not any("external" in name or name.endswith(".data") for name in names)


def test_pyfunc_answers_as_the_service_does(mlflow_url: str, policy: str, tmp_path: Path) -> None:
    loaded = mlflow.pyfunc.load_model(f"models:/{policy}@champion")
    answer = loaded.predict({"observation": OBSERVATION})
    with serve(mlflow_url, policy, tmp_path) as running, PolicyClient(running.target) as client:
        wait_until(lambda: running.ready()["ready"] is True, running.log)
        served = client.act(policy, OBSERVATION, with_values=True)
    assert (answer["action"] == served.action).all()
    assert answer["values"] == pytest.approx(served.values, abs=1e-5)


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


def test_a_policy_that_is_not_registered_is_named_in_readyz(mlflow_url: str, tmp_path: Path) -> None:
    with serve(mlflow_url, "never-trained", tmp_path) as running:
        wait_until(lambda: running.ready().get("registry") is not None, running.log)
        ready = running.ready()
    assert ready["ready"] is False
    assert ready["reason"] == "no version is live of never-trained"
    assert "there is no registered model 'never-trained'" in ready["registry"]["error"]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port whose listener accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held: list[socket.socket] = []

        def accept() -> None:
            try:
                while True:
                    held.append(listener.accept()[0])
            except OSError:
                return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        for connection in held:
            connection.close()


@pytest.mark.parametrize("is_silent", [False, True], ids=["refusing", "hanging"])
def test_a_dead_registry_at_the_start_is_reported_and_the_service_lives(
    tmp_path: Path,
    silent_port: int,
    is_silent: bool,  # noqa: FBT001 - a case
) -> None:
    url = f"http://127.0.0.1:{silent_port if is_silent else free_port()}"
    with serve(url, "cartpole", tmp_path) as running:
        wait_until(lambda: running.ready().get("registry") is not None, running.log)
        ready = running.ready()
        assert ready["ready"] is False
        assert ready["registry"]["up"] is False
        assert "polserve_registry_up 0.0" in running.metrics()
        assert "event=registry_down" in running.log.read_text()


def test_the_last_good_version_is_served_from_the_cache_until_the_registry_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    with mlflow_server(tmp_path, port) as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        for seed in (0, 1):
            register(connect(), "cartpole", seed)
        with serve(url, "cartpole", tmp_path) as running:
            wait_until(lambda: running.ready()["ready"] is True, running.log)
    with serve(url, "cartpole", tmp_path) as running:
        wait_until(lambda: running.ready()["ready"] is True, running.log)
        assert answering(running, "cartpole") == "1"
        wait_until(lambda: "registry" in running.ready(), running.log)
        assert running.ready()["registry"]["up"] is False
        with mlflow_server(tmp_path, port):
            PolicyRegistry(connect()).promote("cartpole", "2", "for the test")
            wait_until(lambda: answering(running, "cartpole") == "2", running.log)
            assert running.ready()["registry"]["up"] is True
        wait_until(lambda: "polserve_registry_up 0.0" in running.metrics(), running.log)
        assert answering(running, "cartpole") == "2", "an outage changes no answer"


def test_a_follower_that_dies_is_started_again(
    mlflow_url: str, store: MlflowClient, policy: str, tmp_path: Path
) -> None:
    with serve(mlflow_url, policy, tmp_path) as running:
        wait_until(lambda: running.ready()["ready"] is True, running.log)
        for child in children(running.process.pid):
            os.kill(int(child), signal.SIGKILL)
        wait_until(lambda: "event=follower_ended" in running.log.read_text())
        store.set_registered_model_alias(policy, CHAMPION, "2")
        wait_until(lambda: answering(running, policy) == "2", running.log)


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split() + [
        child
        for task in Path(f"/proc/{pid}/task").iterdir()
        if task.name != str(pid)
        for child in (task / "children").read_text().split()
    ]


def test_a_champion_that_is_refused_does_not_cost_the_last_good_one_its_place(
    mlflow_url: str, store: MlflowClient, policy: str, tmp_path: Path
) -> None:
    store.set_model_version_tag(policy, "2", SHA256_TAG, "0" * 64)
    with serve(mlflow_url, policy, tmp_path) as running:
        wait_until(lambda: running.ready()["ready"] is True, running.log)
        store.set_registered_model_alias(policy, CHAMPION, "2")
        wait_until(lambda: 'outcome="refused"' in running.metrics(), running.log)
    with serve(mlflow_url, policy, tmp_path) as running:  # and across a restart
        wait_until(lambda: 'outcome="refused"' in running.metrics(), running.log)
        assert answering(running, policy) == "1"


def test_a_policy_whose_alias_is_deleted_stops_answering(
    mlflow_url: str, store: MlflowClient, policy: str, tmp_path: Path
) -> None:
    with serve(mlflow_url, policy, tmp_path) as running:
        wait_until(lambda: running.ready()["ready"] is True, running.log)
        store.delete_registered_model_alias(policy, CHAMPION)
        wait_until(lambda: running.ready()["ready"] is False, running.log)


def test_a_second_service_on_one_cache_is_told_so_and_harms_nothing(
    mlflow_url: str, policy: str, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    with serve(mlflow_url, policy, tmp_path) as running:
        wait_until(lambda: running.ready()["ready"] is True, running.log)
        cache = ("--cache-dir", str(tmp_path / "cache"))
        with serve(mlflow_url, policy, tmp_path / "other", *cache) as second:
            wait_until(lambda: "another service uses the cache" in second.log.read_text(), second.log)
        assert answering(running, policy) == "1"


def test_a_damaged_cache_is_downloaded_again(mlflow_url: str, policy: str, tmp_path: Path) -> None:
    for _ in range(2):
        with serve(mlflow_url, policy, tmp_path) as running:
            wait_until(lambda: running.ready()["ready"] is True, running.log)
        (model,) = tmp_path.glob(f"cache/*/{policy}/1/model.onnx")
        model.write_bytes(model.read_bytes()[:100])


def test_rollback_without_an_earlier_champion_says_so(store: MlflowClient, policy: str) -> None:
    registry = PolicyRegistry(store)
    with pytest.raises(RegistryError, match="no champion before version 1 is on record"):
        registry.rollback(policy)
    assert registry.resolve(VersionName(policy)) == "1"


def test_rollback_walks_back_through_the_history(store: MlflowClient, policy: str) -> None:
    registry = PolicyRegistry(store)
    registry.promote(policy, "2", "")
    registry.promote(policy, "1", "")
    assert store.get_registered_model(policy).tags[HISTORY_TAG] == '["1", "2", "1"]'
    assert registry.rollback(policy) == ("1", "2")
    assert registry.rollback(policy) == ("2", "1")


def test_rollback_knows_a_move_that_was_made_by_hand(store: MlflowClient, policy: str) -> None:
    registry = PolicyRegistry(store)
    store.set_registered_model_alias(policy, CHAMPION, "2")
    assert registry.rollback(policy) == ("2", "1")


def test_a_version_or_alias_that_is_not_there_is_refused(store: MlflowClient, policy: str) -> None:
    registry = PolicyRegistry(store)
    with pytest.raises(RegistryError, match="has no alias @best; it has @champion"):
        registry.resolve(VersionName(policy, alias="best"))
    with pytest.raises(RegistryError, match="version=9"):
        registry.resolve(VersionName(policy, version="9"))
    with pytest.raises(RegistryError, match="not found"):
        registry.newest("never-trained")
    assert registry.newest(policy) == "2"


def test_actions_differ_between_the_two_versions() -> None:
    """Otherwise the tests above could not tell a mix-up."""
    first, second = make_version(0), make_version(1)
    assert first.sha256 != second.sha256
    assert not np.array_equal(first.golden["values"], second.golden["values"])
