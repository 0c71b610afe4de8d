"""Policy versions in a real MLflow registry."""

from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

from protos.names import CHAMPION, SHA256_TAG
from serving.client import PolicyClient
from tests.registry.following import OBSERVATION, serve, version
from tests.support import make_version, wait_until
from training.errors import RegistryError
from training.registry.versions import PolicyRegistry, VersionName

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
