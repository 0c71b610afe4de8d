"""Fixtures of a real MLflow server, and of policies registered there; mlflow is imported by who uses them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from polserve.protos.shared.names import SHA256_TAG
from polserve.protos.shared.promotions import ROLLOUT_TAG
from tests.support.postgresql import postgresql, programs
from tests.support.proxy import Proxy, proxy
from tests.support.running import mlflow_server

if TYPE_CHECKING:
    from mlflow import MlflowClient


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the MLflow server keeps artifacts."""
    return tmp_path_factory.mktemp("mlflow") / "artifacts"


@pytest.fixture(scope="session", params=["postgresql" if programs() else "sqlite"])
def mlflow_url(request: pytest.FixtureRequest, artifacts: Path) -> Iterator[str]:
    """A real MLflow server, on PostgreSQL where that is installed, with its artifacts over HTTP."""
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(postgresql()) if request.param == "postgresql" else None
        yield stack.enter_context(mlflow_server(artifacts.parent, database=database))


@pytest.fixture
def proxied(mlflow_url: str) -> Iterator[Proxy]:
    """The way to that server, on which things can go wrong."""
    with proxy(mlflow_url) as running:
        yield running


@pytest.fixture
def store(mlflow_url: str, monkeypatch: pytest.MonkeyPatch) -> "MlflowClient":
    from polserve.training.registry.store import connect

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
    return connect()


@pytest.fixture(scope="session")
def registered(mlflow_url: str) -> str:
    """A policy that the pipeline's own code registered twice: versions 1 and 2, which act differently."""
    from polserve.training.registry.store import connect
    from tests.support.following import register

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
        for seed in (0, 1):
            register(connect(), "registered", seed)
    return "registered"


@pytest.fixture
def policy(store: "MlflowClient", registered: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A name of this test's own with the same two versions; 1 is champion."""
    name = request.node.name.replace("[", "_").replace("]", "")[:60]
    with copied(store, registered, name):
        yield name


@contextlib.contextmanager
def copied(store: "MlflowClient", registered: str, name: str) -> Iterator[None]:
    """A policy of this name with the two versions of the one that is registered; 1 is champion."""
    from tests.support.following import promoted

    for number in ("1", "2"):
        copied = store.copy_model_version(f"models:/{registered}/{number}", name)
        sha256 = store.get_model_version(registered, number).tags[SHA256_TAG]
        store.set_model_version_tag(name, str(copied.version), SHA256_TAG, sha256)
        for tag in store.get_model_version(name, str(copied.version)).tags:  # a copy has those of what it is of
            if tag.startswith(ROLLOUT_TAG):
                store.delete_model_version_tag(name, str(copied.version), tag)
    store.set_registered_model_tag(name, "polserve.policy", "true")
    promoted(store, name, "1", "the first version")
    yield
    store.delete_registered_model(name)
