from collections.abc import Iterator

import pytest
from mlflow import MlflowClient

from protos.names import SHA256_TAG
from tests.registry.following import register
from training.registry.store import connect
from training.registry.versions import PolicyRegistry


@pytest.fixture
def store(mlflow_url: str, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
    return connect()


@pytest.fixture(scope="session")
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
