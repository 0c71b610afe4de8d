"""Policy versions in a real MLflow registry."""

from pathlib import Path

import mlflow
import numpy as np
import onnx
import pytest
from mlflow import MlflowClient

from polserve.protos.shared.names import CHAMPION, SHA256_TAG
from polserve.protos.shared.version_names import VersionName
from polserve.serving.client import PolicyClient
from polserve.training.errors import RegistryError
from polserve.training.registry.store import connect
from polserve.training.registry.tracking import TrackedRun
from polserve.training.registry.versions import PolicyRegistry
from polserve.training.versions.onnx_policy import OnnxPolicy
from tests.support.commands import polserve_here
from tests.support.following import OBSERVATION, serve, version
from tests.support.running import wait_until
from tests.support.stores import new_store
from tests.support.versions import make_version

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns at its import and use


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


def test_a_version_or_alias_that_is_not_there_is_refused(store: MlflowClient, policy: str) -> None:
    registry = PolicyRegistry(store)
    with pytest.raises(RegistryError, match="has no alias @best; it has @champion"):
        registry.resolve(VersionName(policy, alias="best"))
    with pytest.raises(RegistryError, match="has no version 9; its newest is 2"):
        registry.resolve(VersionName(policy, version="9"))
    with pytest.raises(RegistryError, match=r"no policy 'never-trained' is registered; registered are .*registered"):
        registry.newest("never-trained")
    assert registry.newest(policy) == "2"


def test_a_version_changed_after_registration_is_not_evaluated(
    store: MlflowClient, policy: str, tmp_path: Path
) -> None:
    assert PolicyRegistry(store).graph(policy, "1", tmp_path / "1")[1] == version("registered", 0).sha256
    store.set_model_version_tag(policy, "2", SHA256_TAG, "0" * 64)
    with pytest.raises(RegistryError, match=r"2: model\.onnx has sha256 .*, its tag polserve\.sha256 says 000"):
        PolicyRegistry(store).graph(policy, "2", tmp_path / "2")


def test_a_model_that_polserve_did_not_register_is_told_with_what_makes_a_version_of_it(
    store: MlflowClient, policy: str, tmp_path: Path
) -> None:
    store.delete_model_version_tag(policy, "2", SHA256_TAG)
    with pytest.raises(RegistryError, match=r"/2 is no version of polserve's: it has no tag .* `polserve import onnx`"):
        PolicyRegistry(store).graph(policy, "2", tmp_path / "2")


def test_a_graph_without_a_spec_is_told_with_what_makes_a_version_of_it() -> None:
    model = onnx.ModelProto()
    model.CopyFrom(make_version().model)
    del model.metadata_props[:]
    with pytest.raises(RegistryError, match=r"no metadata 'polserve\.spec'; make .* with `polserve import onnx`"):
        assert OnnxPolicy(model.SerializeToString()).spec


def test_a_servers_database_without_the_server_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", new_store(tmp_path))
    client = connect()
    client.create_experiment("polserve", artifact_location="mlflow-artifacts:/1")
    with pytest.raises(RegistryError, match="set MLFLOW_TRACKING_URI to the server's address"):
        TrackedRun.start(client, "polserve", "run", {})


@pytest.mark.parametrize("uri", ["127.0.0.1:5000", "htp://127.0.0.1", "./mlruns"])
def test_an_address_that_is_none_is_refused(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(RegistryError, match="expected http://, https:// or a database URI"):
        connect()


def test_bundled_policies_are_evaluated_where_the_default_store_does_not_know_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_store(tmp_path)
    monkeypatch.chdir(tmp_path)
    done = polserve_here("evaluate", "cartpole", "--episodes", "2")
    assert done.returncode == 0, done.stderr
    assert "cartpole/1" in done.stdout


def test_actions_differ_between_the_two_versions() -> None:
    """Otherwise the tests above could not tell a mix-up."""
    first, second = make_version(0), make_version(1)
    assert first.sha256 != second.sha256
    assert not np.array_equal(first.golden["values"], second.golden["values"])
