"""`polserve train` as a person uses it, on the embedded SQLite store."""

import json
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from tests.support.promoting import Answer, command
from tests.support.running import program, wait_until

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.filterwarnings("ignore"),  # MLflow warns at its import and use
]

SMALL = ("--set", "selection_episodes=5", "--set", "evaluate_every=1000", "--set", "checkpoint_every_s=1")
TRAIN = ("-m", "polserve", "train", "cartpole", *SMALL)
OF_ANOTHER_RUN = "of another run"


@dataclass(frozen=True)
class Interrupted:
    """A run that Ctrl-C ended, in a folder where another run's checkpoint was."""

    folder: Path
    text: str
    run: Run

    def resume(self, *options: str) -> Answer:
        """Give the same command again, with --resume and `options`."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{self.folder / 'mlflow.db'}")
            return command(*TRAIN[2:], *options, "--resume")


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    folder = tmp_path_factory.mktemp("interrupted")
    log, checkpoint = folder / "log", folder / "runs" / "cartpole-seed0" / "checkpoint.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_text(OF_ANOTHER_RUN)
    endless = ("--set", "stop_return=1000", "--steps", "1000000")
    with program(*TRAIN, *endless, log=log, cwd=folder) as process:
        wait_until(lambda: checkpoint.with_name("checkpoint-1.pt").exists() and checkpoint.exists(), log)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    (run,) = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").search_runs(["1"])
    return Interrupted(folder, log.read_text(), run)


def test_ctrl_c_saves_what_was_learned_and_says_how_to_go_on(interrupted: Interrupted) -> None:
    assert "give the same command with --resume to go on" in interrupted.text
    assert "Traceback" not in interrupted.text
    assert interrupted.run.info.status == "KILLED"
    assert interrupted.run.data.metrics["charts/sps"] > 0


def test_another_runs_checkpoint_is_kept_under_another_name(interrupted: Interrupted) -> None:
    told = "another run's checkpoint was there: it is runs/cartpole-seed0/checkpoint-1.pt now"
    assert told in interrupted.text
    assert (interrupted.folder / "runs/cartpole-seed0/checkpoint-1.pt").read_text() == OF_ANOTHER_RUN


def test_a_run_is_not_resumed_with_other_settings(interrupted: Interrupted) -> None:
    refused = interrupted.resume("--set", "discount=0.9")
    assert refused.exit_code == 1
    assert "discount was 0.995 and is 0.9; resume with the settings that the run was started with" in refused.error


def test_resume_ends_the_same_run(interrupted: Interrupted, tmp_path: Path) -> None:
    resumed = interrupted.resume("--set", "stop_return=1")
    assert resumed.exit_code == 0, resumed.error
    assert "registered cartpole/1" in resumed.text
    assert "report: runs/cartpole-seed0/report\n" in resumed.text
    assert (interrupted.folder / "runs/cartpole-seed0/learning_curve.csv").read_text().count("\n") > 1
    assert {"learning_curve.png", "learning_curve.csv", "returns.png", "evaluation.md"} < {
        path.name for path in (interrupted.folder / "runs/cartpole-seed0/report").iterdir()
    }
    store = MlflowClient(f"sqlite:///{interrupted.folder / 'mlflow.db'}")
    (finished,) = store.search_runs(["1"])
    assert finished.info.run_id == interrupted.run.info.run_id
    assert finished.info.status == "FINISHED"
    check_run(store, finished.info.run_id, tmp_path)


def check_run(store: MlflowClient, run_id: str, folder: Path) -> None:
    """The run holds parameters, tags, metrics by path, plots and the evaluation."""
    run = store.get_run(run_id)
    assert run.data.params["learning_rate"] == "0.003"
    assert {"policy", "env_id", "algo", "seed", "git_commit"} <= run.data.tags.keys()
    assert {"losses/td", "charts/epsilon", "charts/greedy_return", "evaluation/mean"} <= run.data.metrics.keys()
    artifacts = Path(store.download_artifacts(run_id, "", str(folder)))
    names = {path.name for path in artifacts.iterdir()}
    assert {"learning_curve.png", "returns.png", "evaluation.md", "evaluation.json"} <= names
    evaluation = json.loads((artifacts / "evaluation.json").read_text())
    assert len(evaluation["returns"]) == 100
    assert evaluation["random"]["mean"] < 50


def test_ctrl_c_in_the_evaluation_says_how_to_go_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    long = ("--steps", "600", "--set", "evaluate_every=600", "--set", "evaluation_episodes=5000")
    with program(*TRAIN[: -len(SMALL)], "--set", "selection_episodes=2", *long, log=log, cwd=tmp_path) as process:
        wait_until(lambda: log.exists() and "evaluation episodes" in log.read_text(), log)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert "--resume" in log.read_text()
    assert "Traceback" not in log.read_text()
    (run,) = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}").search_runs(["1"])
    assert run.info.status == "KILLED"
