"""`polserve.train` does what the command does, for a program that goes on afterwards."""

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from polserve.training.environments.making import EVALUATION_FIRST_SEED
from polserve.training.errors import CheckpointError, FaultyEnvironment, InvalidOption, RegistryError, TrainingError
from polserve.training.learning.interrupts import ctrl_c
from polserve.training.registry.tracking import TrackedRun
from polserve.training.runs import pipeline
from polserve.training.runs.evaluating import make_version
from polserve.training.train import TrainedVersion, train
from tests.support.small_runs import SMALL
from tests.support.stores import new_store
from tests.support.strangers import Line

# MLflow warns of itself when it is imported, and of the store that it keeps on this machine.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An MLflow store of these tests' own: making its tables takes longer than to train."""
    return new_store(tmp_path_factory.mktemp("store"))


def train_small(folder: Path, store: str, **changes: Any) -> TrainedVersion:
    arguments: dict[str, Any] = {"environment": "CartPole-v1", "algo": "dqn", "name": "pole", "steps": 400}
    arguments |= {"seed": 0, "options": SMALL, "folder": folder, "tracking_uri": store, "progress": False}
    return train(**(arguments | changes))


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of seed 0."""
    return tmp_path_factory.mktemp("small") / "run"


@pytest.fixture(scope="module")
def small(run_folder: Path, store: str) -> TrainedVersion:
    """The version of that run."""
    return train_small(run_folder, store)


def test_a_version_is_evaluated_exported_and_registered_when_asked(
    small: TrainedVersion, run_folder: Path, tmp_path: Path, store: str
) -> None:
    version = small
    assert version.path == run_folder / "policies" / "pole" / "1"
    assert version.spec.environment.id == "CartPole-v1"
    assert version.evaluation.summary.episodes == SMALL["evaluation_episodes"]
    assert version.act([0.0, 0.0, 0.2, 0.0]) in {0, 1}
    assert version.act(np.zeros((3, 4))).shape == (3,)
    assert "pole: mean return" in str(version)
    client = MlflowClient(store, store)
    assert not client.search_registered_models()
    assert version.register() == "1"
    assert client.get_model_version_by_alias("pole", "champion").run_id == version.run_id
    other = new_store(tmp_path, "other.db")
    assert version.register(other) == "1"
    assert MlflowClient(other, other).get_model_version("pole", "1").run_id != version.run_id


def test_mlflow_has_what_an_engineer_looks_for(small: TrainedVersion, store: str) -> None:
    run = MlflowClient(store, store).get_run(small.run_id)
    versions = {name: run.data.tags[f"{name}_version"] for name in ("polserve", "torch", "gymnasium", "python")}
    assert versions["torch"] == torch.__version__
    assert versions["gymnasium"] == gym.__version__
    assert all(versions.values())
    figures, evaluation = run.data.metrics, small.evaluation
    assert figures["evaluation/random_mean"] == pytest.approx(evaluation.random_summary.mean)
    ends = figures["evaluation/interval_low"], figures["evaluation/interval_high"]
    assert ends == pytest.approx(evaluation.interval)


def test_errors_and_notes_name_arguments(tmp_path: Path, store: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CheckpointError, match="start the run without resume=True, or give the run's folder as folder"):
        train_small(tmp_path, store, resume=True)
    version = train_small(tmp_path, store, environment=Line, steps=100, progress=True)
    assert version.evaluation.cut_off
    assert "warning: 4 of 4 episodes were cut off after 50 steps" in (shown := capsys.readouterr().out)
    assert 'options={"max_evaluation_steps": N} lets them go on' in shown


def test_an_environment_may_be_what_makes_it(tmp_path: Path, store: str) -> None:
    version = train_small(tmp_path, store, environment=Line, name="line")
    assert version.spec.environment.id == "Line"


def test_the_module_of_an_environment_is_a_parameter(tmp_path: Path, store: str) -> None:
    module = "gymnasium.envs.classic_control"
    run_id = train_small(tmp_path, store, module=module, steps=100).run_id
    assert MlflowClient(store, store).get_run(run_id).data.params["module"] == module


@pytest.mark.acceptance
def test_trainings_in_two_threads_are_those_that_they_are_alone(
    small: TrainedVersion, tmp_path: Path, store: str
) -> None:
    def weights(part: str, seed: int) -> dict[str, torch.Tensor]:
        return dict(train_small(tmp_path / part, store, seed=seed).training.weights)

    torch.manual_seed(17)
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    alone = [dict(small.training.weights), weights("alone", 1)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(weights, ("one", "two"), (0, 1)))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    for here, there in zip(alone, together, strict=True):
        assert all(torch.equal(here[name], there[name]) for name in here)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"environment": "cartpool", "algo": None}, r"environment: expected a preset .* got 'cartpool' alone"),
        ({"algo": "ppo"}, "algo: expected dqn or pqn or ddpg or td3 or sac, got ppo"),
        ({"environment": "cartpole"}, "fixes algorithm and environment; leave out algo"),
        ({"environment": 3}, "environment: expected a preset, a Gymnasium id or a callable"),
        ({"environment": gym.make("CartPole-v1")}, "expected what makes the environment"),
        ({"environment": "NoSuch-v1"}, "no environment 'NoSuch-v1' is registered"),
        ({"steps": 0}, "steps"),
        ({"steps": 1.5}, "steps: expected a whole number, got 1.5"),
        ({"threads": -1}, "threads: expected 0 for all cores, or their number, got -1"),
        ({"name": "a b"}, "name: expected letters"),
        ({"data": "history.csv"}, "leave it out"),
        ({"data": 3}, "data: expected a path, got 3"),
        ({"name": 5}, "name: expected text, got 5"),
        ({"env_kwargs": ["a"]}, "env_kwargs: expected a mapping by name"),
        ({"options": {"lr": 1}}, "got 'lr'; did you mean learning_rate.* `polserve train --list` has"),
        ({"env_kwargs": {1: 2}}, "env_kwargs: expected names, got the key 1"),
        (
            {"env_kwargs": {"f": len}},
            r"env_kwargs: expected values that JSON can hold, .* got f=<built-in function len>",
        ),
        ({"seed": None}, "seed: expected a value, got None; leave it out for the default"),
        ({"module": None}, "module: expected a value, got None; leave it out"),
        ({"resume": "no"}, "resume: expected True or False, got 'no'"),
        ({"tensorboard": 1}, "tensorboard: expected True or False, got 1"),
        ({"tracking_uri": 5}, "tracking_uri: expected text, got 5"),
        ({"device": None}, "device: expected a value, got None"),
        ({"environment": None}, "environment: expected a preset, a Gymnasium id or a callable .*, got None"),
        ({"init_from": ".", "resume": True}, "init_from: expected None to resume"),
        ({"device": "gpu"}, "device: expected auto or cpu or cuda, got gpu"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_named_before_anything_is_learned(
    changes: dict[str, Any], message: str, tmp_path: Path, store: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        train_small(tmp_path, store, **changes)
    assert not (tmp_path / "checkpoint.pt").exists()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: np.zeros(3), r"expected shape \(4,\), or 2 axes, got \(3,\)"),
        (lambda: [["a"] * 4], "observation: expected"),
    ],
    ids=["shape", "words"],
)
def test_an_observation_of_another_kind_is_refused(
    make: Callable[[], Any], message: str, small: TrainedVersion
) -> None:
    with pytest.raises(InvalidOption, match=message):
        small.act(make())


@pytest.fixture
def ctrl_c_is_pythons() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, also where these tests were started with it ignored, as in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Stopped(Line):
    """An environment in whose 150th step, after those that it is tried for, somebody presses Ctrl-C."""

    steps = 0

    def step(self, action: Any) -> Any:
        Stopped.steps += 1
        if Stopped.steps == 150:
            signal.raise_signal(signal.SIGINT)
        return super().step(action)


@pytest.mark.usefixtures("ctrl_c_is_pythons")
def test_ctrl_c_saves_what_was_learned_and_resume_goes_on(tmp_path: Path, store: str) -> None:
    Stopped.steps = 0
    with pytest.raises(KeyboardInterrupt, match=r"stopped at step \d+; saved in .*: resume=True goes on"):
        train_small(tmp_path, store, environment=Stopped, name="line", steps=300)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert (tmp_path / "checkpoint.pt").exists()
    version = train_small(tmp_path, store, environment=Stopped, name="line", steps=300, resume=True)
    assert MlflowClient(store).get_run(version.run_id).info.status == "FINISHED"


@pytest.mark.usefixtures("ctrl_c_is_pythons")
def test_ctrl_c_at_the_very_end_is_passed_on_with_the_version_written(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_last(*arguments: Any) -> Any:
        made = make_version(*arguments)
        signal.raise_signal(signal.SIGINT)
        return made

    monkeypatch.setattr(pipeline, "make_version", make_last)
    with pytest.raises(KeyboardInterrupt, match="the training was over already: its version is in"):
        train_small(tmp_path, store, environment=Line, name="line", steps=100)
    assert (tmp_path / "policies" / "line" / "1").is_dir()


def test_a_program_that_answers_ctrl_c_itself_is_left_alone() -> None:
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        with ctrl_c() as is_interrupted:
            signal.raise_signal(signal.SIGINT)
            assert not is_interrupted()
    finally:
        signal.signal(signal.SIGINT, before)


class BrokenInEvaluation(Line):
    """An environment that fails with the seeds of the evaluation."""

    is_mended = False

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        if seed is not None and seed >= EVALUATION_FIRST_SEED and not self.is_mended:
            raise ConnectionError("no simulator")
        return super().reset(seed=seed, options=options)


def test_an_environment_that_fails_in_the_evaluation_loses_nothing(
    tmp_path: Path, store: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: dict[str, Any] = {"environment": BrokenInEvaluation, "name": "line", "steps": 100, "progress": True}
    with pytest.raises(FaultyEnvironment, match="no simulator"):
        train_small(tmp_path, store, **arguments)
    said = f"note: what was learned is saved in {tmp_path}: once this is mended, resume=True evaluates it"
    assert said in capsys.readouterr().out
    monkeypatch.setattr(BrokenInEvaluation, "is_mended", True)
    train_small(tmp_path, store, **arguments, resume=True)
    assert "nothing is left to learn" in capsys.readouterr().out


def test_a_registry_that_is_down_at_the_end_leaves_the_report_on_disk(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RegistryError("the MLflow store does not answer")

    monkeypatch.setattr(TrackedRun, "log_files", refuse)
    with pytest.raises(RegistryError, match="once this is mended, give the same command with resume=True"):
        train_small(tmp_path, store, environment=Line, name="line", steps=100)
    assert (tmp_path / "report" / "evaluation.json").exists()
