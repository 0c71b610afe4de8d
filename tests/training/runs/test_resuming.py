"""A run that is resumed says where it goes on, and two runs never write in one folder."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient

from polserve.training.errors import CheckpointError
from polserve.training.runs import folder as run_folder
from polserve.training.runs import pipeline
from tests.support.promoting import Answer, command
from tests.support.small_runs import SMALL
from tests.support.stores import new_store

pytestmark = [
    pytest.mark.starts_processes,  # a run in another process, and torch in this one
    pytest.mark.filterwarnings("ignore"),  # MLflow warns at its import and use
]

SETTINGS = [part for name, value in SMALL.items() for part in ("--set", f"{name}={value}")]
FOLDER = Path("runs/cartpole-v1-seed0")


@dataclass(frozen=True)
class Finished:
    """A run of 200 steps that was registered as cartpole-v1/1."""

    store: MlflowClient
    step: int
    """Step at which it ended: the environments are stepped together."""

    def versions(self, policy: str) -> set[str]:
        return {str(version.version) for version in self.store.search_model_versions(f"name = '{policy}'")}


def train(*options: str) -> Answer:
    return command("train", "--algo", "dqn", "--env", "CartPole-v1", *SETTINGS, *options)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Working directory of the finished run, which no test changes, with its store."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", new_store(folder))
        assert "registered cartpole-v1/1" in train("--steps", "200").text
    return folder


@pytest.fixture
def finished(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Finished:
    """The finished run in a copy of its directory and store."""
    folder = tmp_path / "copy"
    shutil.copytree(original, folder)
    store = f"sqlite:///{folder / 'mlflow.db'}"
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    return Finished(MlflowClient(store), steps_of(FOLDER / "learning_curve.csv")[-1])


def steps_of(curve: Path) -> list[int]:
    return [int(line.split(",")[0]) for line in curve.read_text().splitlines()[1:]]


def test_a_finished_run_is_not_registered_twice(finished: Finished) -> None:
    for steps in ("200", "100"):
        again = train("--resume", "--steps", steps)
        assert again.exit_code == 0
        told = f"nothing is left to learn: the run in {FOLDER} is at step {finished.step} of about {steps};"
        assert told in again.text
        assert "registered as cartpole-v1/1 already, so it is not registered again; --name OTHER" in again.text
    assert finished.versions("cartpole-v1") == {"1"}


def test_a_finished_run_is_registered_under_another_name_with_its_curve_as_it_was(finished: Finished) -> None:
    other = train("--resume", "--steps", "200", "--name", "shop.v2")
    assert f"checkpoints in {FOLDER}" in other.text
    assert "registered shop.v2/1" in other.text, other.error
    assert finished.versions("shop.v2") == {"1"}
    assert finished.versions("cartpole-v1") == {"1"}
    assert steps_of(FOLDER / "learning_curve.csv") == [finished.step]


@pytest.mark.usefixtures("finished")
def test_a_resume_that_finds_no_checkpoint_names_those_that_are_there() -> None:
    answer = train("--resume", "--seed", "7")
    assert "no checkpoint in runs/cartpole-v1-seed7; start the run without --resume, or" in answer.error
    assert f"give the run's folder as --run-dir; there are checkpoints in {FOLDER}" in answer.error


def test_a_run_that_goes_on_says_from_where_and_is_another_version(finished: Finished) -> None:
    longer = train("--resume", "--steps", "300")
    assert f"resuming at step {finished.step} of about 300, from {FOLDER}/checkpoint.pt" in longer.text
    assert "registered cartpole-v1/2" in longer.text
    (run,) = finished.store.search_runs(["1"])
    changed = {name: value for name, value in run.data.tags.items() if name.startswith("resumed.")}
    assert (run.data.params["steps"], changed) == ("200", {"resumed.steps": "300"})
    first, second = steps_of(FOLDER / "learning_curve.csv")
    assert first == finished.step < 300 <= second


@pytest.mark.usefixtures("finished")
def test_two_runs_do_not_write_in_one_folder() -> None:
    with run_folder.locked(FOLDER):
        answer = train("--steps", "200")
    assert answer.exit_code == 1
    assert f"another run (process {os.getpid()}) writes in {FOLDER}; wait for its end or stop it" in answer.error


def test_a_run_that_crashed_leaves_no_lock(tmp_path: Path) -> None:
    script = (
        "import pathlib\n"
        "from polserve.training.runs import folder\n"
        f"with folder.locked(pathlib.Path({str(tmp_path)!r})):\n"
        "    print('held', flush=True)\n"
        "    input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(CheckpointError, match=rf"another run \(process {holder.pid}\) writes in"):
            run_folder.check_unlocked(tmp_path)
        holder.kill()
    with run_folder.locked(tmp_path):
        pass
    run_folder.check_unlocked(tmp_path)


def test_a_run_that_is_aborted_says_what_is_saved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), pipeline.resumable(tmp_path):
        raise KeyboardInterrupt
    assert "no checkpoint was saved before, so nothing is left of it" in capsys.readouterr().err
    (tmp_path / run_folder.FILE_NAME).touch()
    with pytest.raises(KeyboardInterrupt), pipeline.resumable(tmp_path):
        raise KeyboardInterrupt
    assert f"until the latest checkpoint is in {tmp_path}, and --resume goes on from there" in capsys.readouterr().err
