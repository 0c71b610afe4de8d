"""Versions in the registry are signed when they are registered, or later, and served where their key is trusted."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from polserve.protos.shared.signing import check_signature, key_id
from polserve.protos.shared.version_names import VersionName
from polserve.training.registry.tracking import TrackedRun
from polserve.training.registry.versions import PolicyRegistry
from polserve.training.signing import sign_registered
from tests.support.following import answering, live, register, serve, version
from tests.support.running import wait_until
from tests.support.signing import make_key, trust

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns at its import and use


def test_a_version_that_is_registered_with_a_key_is_signed(store: MlflowClient, tmp_path: Path) -> None:
    key, _ = make_key(tmp_path)
    registry = PolicyRegistry(store)
    with TrackedRun.start(store, "tests", "sealed", {}) as run:
        number = registry.register(version("sealed", 0), run.run_id, key)
    files = registry.download("sealed", number, tmp_path)
    assert check_signature(files, "sealed", {key_id(key.public_key()): key.public_key()})


def test_a_version_that_is_signed_after_it_was_refused_goes_live(
    store: MlflowClient, mlflow_url: str, tmp_path: Path
) -> None:
    key, _ = make_key(tmp_path)
    register(store, "late", 0)
    keys = trust(tmp_path / "keys", key)
    with serve(mlflow_url, "late", tmp_path, "--trusted-keys", str(keys)) as running:
        wait_until(lambda: "event=rollout_refused" in running.log.read_text(), running.log)
        assert live(running, "late") is None
        assert sign_registered(VersionName("late"), key) == "late/1"
        wait_until(lambda: live(running, "late") == {"champion": "1"}, running.log)
        assert answering(running, "late") == "1"
