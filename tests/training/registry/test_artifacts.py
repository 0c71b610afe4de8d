"""A service whose registry's artifact store holds something else than what was registered, or gives it in pieces."""

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest
from mlflow import MlflowClient

from polserve.protos.shared.names import CHAMPION
from polserve.training.registry.store import connect
from tests.support.following import SERVE, answering, live, register
from tests.support.proxy import Forward, Proxy, Request, Response, none, proxy
from tests.support.running import Running, environment, service, wait_until

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns at its import and use

NUMBERS = itertools.count()
TAG = "polserve.rollout.tests"
GIB = 2**30


@dataclass(frozen=True)
class Stage:
    """A registry with its artifacts in a folder, and a service that follows everything in it."""

    store: MlflowClient
    artifacts: Path
    registry: Proxy
    running: Running
    cache: Path

    def files(self, policy: str, version: str) -> Path:
        """The folder of the store that holds a version's files."""
        uri = str(self.store.get_model_version_download_uri(policy, version))
        return self.artifacts / uri.removeprefix("mlflow-artifacts:/")

    def tag(self, policy: str) -> str:
        """What the service says of version 2."""
        return str(self.store.get_model_version(policy, "2").tags.get(TAG, ""))


@pytest.fixture(scope="module")
def stage(mlflow_url: str, artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("stage")
    with pytest.MonkeyPatch.context() as patch, proxy(mlflow_url) as registry:
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
        store = connect()
        env = environment(MLFLOW_TRACKING_URI=registry.url)
        with service(*SERVE, "--cache-dir", str(folder / "cache"), folder=folder, env=env) as running:
            yield Stage(store, artifacts, registry, running, folder / "cache")


@pytest.fixture
def policy(stage: Stage) -> Iterator[str]:
    """A policy of this test's own; version 1 is champion and answers, 2 is registered."""
    name = f"policy-{next(NUMBERS)}"
    for seed in (0, 1):
        register(stage.store, name, seed)
    wait_until(lambda: live(stage.running, name) == {CHAMPION: "1"}, stage.running.log)
    yield name
    stage.registry.fault = none
    stage.store.delete_registered_model(name)


Damage: TypeAlias = Callable[[Path], object]


def empty(folder: Path) -> None:
    for file in sorted(folder.rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()


def truncate(folder: Path) -> None:
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:1000])


def change(folder: Path) -> None:
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes().replace(b"CartPole-v1", b"CartPole-v0"))


def swell(folder: Path) -> None:
    with (folder / "model.onnx").open("r+b") as file:
        file.truncate(10 * GIB)  # a hole, which takes no disk


def link(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").symlink_to("/etc/passwd")


def link_golden(folder: Path) -> None:
    (folder / "extra_files" / "golden.npz").unlink()
    (folder / "extra_files" / "golden.npz").symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (empty, "artifacts lack model.onnx"),
        (truncate, "sha256 of model.onnx: expected"),
        (change, "sha256 of model.onnx: expected"),
        (swell, "the version is 10,240 MiB, the limit is 2,048; raise --max-artifact-mib"),
        (link, "its files cannot be had"),  # MLflow's server follows no link out of its folder
        (link_golden, "its files cannot be had"),
    ],
)
def test_files_that_are_not_those_that_were_registered_are_refused(
    stage: Stage, policy: str, damage: Damage, reason: str
) -> None:
    damage(stage.files(policy, "2"))
    stage.store.set_registered_model_alias(policy, CHAMPION, "2")
    wait_until(lambda: stage.tag(policy).startswith("refused 20"), stage.running.log)
    assert reason in stage.tag(policy)
    assert answering(stage.running, policy) == "1", "what was live stays live"
    assert f'polserve_rollouts_total{{outcome="refused",policy="{policy}"}} 1.0' in stage.running.metrics()
    wait_until(lambda: not list(stage.cache.glob("*/.download-*")), stage.running.log)  # nothing half-filled is left


def cut(request: Request, forward: Forward) -> Response:
    """Downloads end before they are complete, as when a connection breaks."""
    response = forward()
    if request.path.endswith("/artifacts/model.onnx"):
        return Response(response.status, response.body[:500], response.headers, announced=len(response.body))
    return response


def climb(request: Request, forward: Forward) -> Response:
    """Listings name a file outside of the folder that was asked for."""
    response = forward()
    if "mlflow-artifacts/artifacts?" in request.path:
        listed = json.loads(response.body)
        listed["files"].append({"path": "../../../evil", "is_dir": False, "file_size": 4})
        return Response(response.status, json.dumps(listed).encode(), response.headers)
    return response


@pytest.mark.parametrize(("fault", "reason"), [(cut, "its files cannot be had"), (climb, "Invalid path")])
def test_a_store_that_misbehaves_costs_nothing_and_the_version_goes_live_once_it_behaves(
    stage: Stage, policy: str, fault: Callable[[Request, Forward], Response], reason: str
) -> None:
    stage.registry.fault = fault
    stage.store.set_registered_model_alias(policy, CHAMPION, "2")
    wait_until(lambda: stage.tag(policy).startswith("refused 20"), stage.running.log)
    assert reason in stage.tag(policy)
    assert answering(stage.running, policy) == "1"
    assert not list(stage.cache.rglob("evil"))
    stage.registry.fault = none
    wait_until(lambda: answering(stage.running, policy) == "2", stage.running.log)
    wait_until(lambda: stage.tag(policy).startswith("live 20"), stage.running.log)
