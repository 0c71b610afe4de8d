"""`polserve train` as a person uses it, on the embedded SQLite store."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.support.running import environment, program, wait_until

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns at its import and use

SMALL = ("--set", "selection_episodes=5", "--set", "evaluate_every=1000", "--set", "checkpoint_every_s=1")
TRAIN = ("-m", "polserve", "train", "cartpole", *SMALL)


def test_ctrl_c_saves_what_was_learned_and_resume_ends_the_same_run(tmp_path: Path) -> None:
    log = tmp_path / "log"
    checkpoint = tmp_path / "runs" / "cartpole-seed0" / "checkpoint.pt"
    endless = ("--set", "stop_return=1000", "--steps", "1000000")
    with program(*TRAIN, *endless, log=log, cwd=tmp_path) as process:
        wait_until(checkpoint.exists, log)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    text = log.read_text()
    assert "give the same command with --resume to go on" in text
    assert "Traceback" not in text

    store = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (interrupted,) = store.search_runs(["1"])
    assert interrupted.info.status == "KILLED"
    assert interrupted.data.metrics["charts/sps"] > 0

    resumed = subprocess.run(
        [sys.executable, *TRAIN, "--set", "stop_return=1", "--resume"],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(),
    )
    assert resumed.returncode == 0, resumed.stderr
    assert "registered cartpole/1" in resumed.stdout
    assert "report: runs/cartpole-seed0/report\n" in resumed.stdout
    assert {"learning_curve.png", "returns.png", "evaluation.md"} < {
        path.name for path in (tmp_path / "runs/cartpole-seed0/report").iterdir()
    }
    (finished,) = store.search_runs(["1"])
    assert finished.info.run_id == interrupted.info.run_id
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


def test_a_run_leaves_another_runs_checkpoint_and_is_not_resumed_with_other_settings(tmp_path: Path) -> None:
    def train(*options: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, *TRAIN, "--steps", "1200", "--no-register", *options],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment(),
        )

    earlier = tmp_path / "runs" / "cartpole-seed0" / "checkpoint.pt"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("of another run")
    begun = train()
    assert begun.returncode == 0
    assert "another run's checkpoint was there: it is runs/cartpole-seed0/checkpoint-1.pt now" in begun.stdout
    assert earlier.with_name("checkpoint-1.pt").read_text() == "of another run"
    refused = train("--resume", "--set", "discount=0.9")
    assert refused.returncode == 1
    assert "discount was 0.995 and is 0.9; resume with the settings that the run was started with" in refused.stderr


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
