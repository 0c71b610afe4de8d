from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.client import PolicyClient
from tests.support import Running, make_version, mlflow_server, service, write_version


@pytest.fixture(scope="session")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one version of a small CartPole policy."""
    folder = tmp_path_factory.mktemp("policies")
    write_version(make_version(), folder / "cartpole" / "1")
    return folder


@pytest.fixture(scope="session")
def running(policies: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A real service over that folder."""
    with service("--policies", str(policies), folder=tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture(scope="session")
def client(running: Running) -> Iterator[PolicyClient]:
    """A client of that service."""
    with PolicyClient(running.target) as client:
        yield client


@pytest.fixture(scope="session")
def mlflow_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MLflow server."""
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as url:
        yield url
