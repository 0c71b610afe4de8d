"""`polserve train mspacman` as a person uses it, made small."""

import json
from pathlib import Path

import pytest

from polserve.training.environments.inspection import check_fits
from polserve.training.environments.making import EnvironmentSpec, make_env
from polserve.training.errors import UnknownEnvironment, UnsupportedEnvironment
from polserve.training.runs.presets import PRESETS
from polserve.training.runs.trainee import build_trainee
from polserve.training.versions.onnx_policy import OnnxPolicy
from tests.support.promoting import command

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns at its import and use

SMALL = {
    "n_envs": 2,
    "hidden_sizes": 8,
    "learning_starts": 100,
    "replay_capacity": 1000,
    "evaluate_every": 100,
    "selection_episodes": 1,
    "evaluation_episodes": 2,
    "max_evaluation_steps": 100,
}


def run(*arguments: str) -> str:
    """The output of a command that succeeds."""
    answer = command(*arguments)
    assert answer.exit_code == 0, answer.error
    return answer.text


@pytest.mark.acceptance
def test_a_policy_is_trained_from_frames_registered_and_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    options = [word for name, value in SMALL.items() for word in ("--set", f"{name}={value}")]
    output = run("train", "mspacman", "--steps", "120", "--threads", "1", "--device", "cpu", *options)
    assert "registered mspacman/1" in output

    (model,) = tmp_path.rglob("model.onnx")
    spec = OnnxPolicy(model).spec
    assert list(spec.observation.shape) == [4, 210, 160, 3]
    assert spec.observation.frames == 4
    assert (spec.algorithm, spec.environment.id) == ("qr-dqn", "ALE/MsPacman-v5")
    assert spec.action.discrete.labels[:3] == ["noop", "up", "right"]
    settings = json.loads(spec.provenance.settings_json)
    assert settings["reward_treatment"] == "root"
    assert settings["n_envs"] == 2
    assert "CPU cores" in spec.provenance.machine
    assert spec.provenance.training_hours > 0
    assert spec.provenance.environment_steps >= 120
    assert model.stat().st_size < 16e6

    games = ("--episodes", "2", "--max-steps", "200")
    table = run("evaluate", "mspacman", *games)
    assert "random 307.3, human 6951.6." in table
    with pytest.raises(
        UnsupportedEnvironment, match=r"expected uint8 \(4, 210, 160, 3\) and Discrete\(9\), got float32"
    ):
        check_fits(EnvironmentSpec("CartPole-v1"), spec)
    other = json.loads(run("evaluate", "mspacman", "--env", "MsPacman-v0", *games, "--json"))
    assert other["mspacman/1"]["episodes"] == 2


def test_the_guides_preset_has_the_guides_settings() -> None:
    recipe = PRESETS["mspacman-guide"]
    assert (recipe.environment.id, recipe.agent.discount, recipe.agent.batch_size) == ("MsPacman-v0", 0.9, 8)
    assert (recipe.network.padding, recipe.network.pixels, recipe.replay.replay_capacity) == ("same", "guide", 5_000)
    trainee = build_trainee(recipe, 0, "cpu")  # no vector environment plays its random frame skip
    trainee.close()


def test_a_game_that_is_not_there_is_named() -> None:
    with pytest.raises(UnknownEnvironment, match="ALE/MsPacman-v5"):
        make_env(EnvironmentSpec("ALE/MsPacmann-v5"))
