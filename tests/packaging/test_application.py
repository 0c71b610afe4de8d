"""An application whose own folders are named as ours uses what is installed, from first training to promotion."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from polserve.protos.shared.names import MODEL_FILE
from tests.support.installing import Installed, build, copy_source, install
from tests.support.running import free_port, page, wait_until

ENVIRONMENT = """
import gymnasium as gym
import numpy as np


class Door(gym.Env):
    observation_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.side = self.np_random.uniform(-1.0, 1.0, 2).astype(np.float32)
        return self.side, {}

    def step(self, action):
        return self.side, float(action == (self.side[0] > 0)), False, False, {}


gym.register("Door-v0", Door, max_episode_steps=5)
"""
EPISODE = """
import sys
import polserve
from polserve import PolicyClient

with PolicyClient(sys.argv[1]) as client, client.episode("cartpole") as episode:
    actions = [episode.act([0.0, 0.0, 0.01 * step, 0.0]).action for step in range(3)]
print(polserve.__file__, len(actions))
"""


pytestmark = pytest.mark.timeout(900)
"""A minute on a quiet machine: six programs import MLflow or torch."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """An environment with polserve, and with the folders that an older one has left in it."""
    folder = tmp_path_factory.mktemp("application")
    wheel = build(copy_source(folder / "source", has_links=True), "wheel", folder)
    environment = install(wheel, folder / "environment")
    for name in ("protos", "serving", "training"):
        (environment.site / name).mkdir()
        (environment.site / name / "__init__.py").write_text("raise SystemExit('of an older polserve')\n")
    return environment


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an application."""
    folder = tmp_path_factory.mktemp("app")
    for name in ("protos", "serving", "training", "policies", "tests"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("")
    (folder / "training" / "door.py").write_text(ENVIRONMENT)
    (folder / "polserve.yaml").write_text("an application's own\n")
    (folder / "play.py").write_text(EPISODE)
    return folder


@contextmanager
def serving(installed: Installed, application: Path, log: Path, **changes: str) -> Iterator[str]:
    """The service of the installation, run in the application's folder; its target."""
    grpc_port, http_port = free_port(), free_port()
    ports = ("--grpc-port", str(grpc_port), "--http-port", str(http_port))
    command = [str(installed.folder / "bin" / "polserve"), "serve", *ports]
    environment = {**installed.environment, **changes}
    with (
        log.open("w") as output,
        subprocess.Popen(command, cwd=application, env=environment, stdout=output, stderr=output) as process,
    ):
        try:
            wait_until(lambda: page(f"http://127.0.0.1:{http_port}/readyz")[0] == 200, log)
            yield f"127.0.0.1:{grpc_port}"
        finally:
            process.terminate()
            process.wait(15)


def test_the_client_plays_an_episode_with_a_bundled_policy(
    installed: Installed, application: Path, tmp_path: Path
) -> None:
    with serving(installed, application, tmp_path / "log") as target:
        printed = installed.run("python", "play.py", target, cwd=application)
        listed = installed.run("polserve", "policies", "--target", target, cwd=application)
    assert printed.split() == [str(installed.site / "polserve" / "__init__.py"), "3"]
    assert {line.split("/")[0] for line in listed.splitlines()[1:]} == {
        path.parent.parent.name for path in (installed.site / "polserve" / "policies").glob(f"*/*/{MODEL_FILE}")
    }


def test_a_policy_of_its_own_is_trained_registered_promoted_and_followed(
    installed: Installed, application: Path, tmp_path: Path
) -> None:
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    train = ("--algo", "dqn", "--env", "Door-v0", "--module", "training.door", "--name", "door", "--steps", "600")
    printed = installed.run(
        "polserve", "train", *train, "--run-dir", str(tmp_path / "run"), cwd=application, MLFLOW_TRACKING_URI=store
    )
    assert "registered door/1" in printed
    promoted = installed.run(
        "polserve", "promote", "door", "--module", "training.door", cwd=application, MLFLOW_TRACKING_URI=store
    )
    assert "door/1" in promoted
    with serving(
        installed, application, tmp_path / "log", MLFLOW_TRACKING_URI=store, POLSERVE_CACHE_DIR=str(tmp_path / "cache")
    ) as target:
        listed = installed.run("polserve", "policies", "--target", target, cwd=application)
    assert "door/1" in listed
    assert "@champion" in listed
