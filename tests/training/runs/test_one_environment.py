"""A run in an environment of which only one may exist: evaluations take turns with training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polserve.training.environments.making import SELECTION_FIRST_SEED, EnvironmentSpec
from polserve.training.errors import InvalidOption, UnsupportedEnvironment
from polserve.training.evaluate import evaluate
from polserve.training.promotion.match import Match, Side, play_match, play_random
from polserve.training.runs.defaults import recipe_for
from polserve.training.runs.recipe import Recipe, with_options
from polserve.training.runs.request import as_settings
from polserve.training.runs.trainee import Trainee, build_trainee
from polserve.training.train import train
from tests.support.one import OnlyOne
from tests.support.stores import new_store
from tests.support.versions import make_version

# MLflow warns of itself when it is imported, and of the store that it keeps on this machine.
pytestmark = pytest.mark.filterwarnings("ignore")

SMALL: dict[str, Any] = {
    "n_envs": 1,
    "updates_per_vector_step": 1,
    "learning_starts": 32,
    "batch_size": 16,
    "hidden_sizes": (16,),
    "evaluate_every": 64,
    "selection_episodes": 2,
    "selection_share": 1.0,
    "evaluation_episodes": 3,
    "max_evaluation_steps": 50,
}


@pytest.fixture
def endless(only_one: EnvironmentSpec, monkeypatch: pytest.MonkeyPatch) -> EnvironmentSpec:
    monkeypatch.setattr(OnlyOne, "length", 10**9)
    return only_one


def small(spec: EnvironmentSpec, steps: int, **changes: Any) -> Recipe:
    return with_options(recipe_for("dqn", spec, "one"), as_settings({**SMALL, "steps": steps, **changes}))


def rows(trainee: Trainee) -> dict[str, Any]:
    """What the replay holds, by name, in order."""
    replay: dict[str, Any] = trainee.state()["loop"]["learner"]["replay"]["rows"]
    return {name: np.asarray(array)[:, 0] for name, array in replay.items()}


@pytest.mark.usefixtures("only_one")
def test_a_run_of_one_environment_is_trained_evaluated_and_exported(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"folder": tmp_path / "run", "tracking_uri": new_store(tmp_path), "progress": False}
    version = train(OnlyOne, algo="dqn", steps=200, options=SMALL, **arguments)
    assert version.training.step == 200
    assert [step for step, _ in version.training.curve] == [70, 130, 200]
    assert OnlyOne.existing == 0


def test_an_evaluation_waits_for_the_end_of_trainings_episode(only_one: EnvironmentSpec) -> None:
    trainee = build_trainee(small(only_one, 200), 0)
    result = trainee.train()
    kept = rows(trainee)
    trainee.close()
    assert [step for step, _ in result.curve] == [70, 130, 200]
    assert result.episodes == 20
    # Each episode is ten real steps, and one that only resets, whatever evaluations there were between them.
    assert (np.flatnonzero(kept["is_over"]) == np.arange(9, len(kept["is_over"]), 11)).all()
    assert (np.flatnonzero(~kept["is_real"]) == np.arange(10, len(kept["is_over"]), 11)).all()
    assert (kept["is_terminated"] == kept["is_over"]).all()


def test_an_episode_without_end_is_cut_off_for_an_evaluation_and_not_learned_on_as_the_next(
    endless: EnvironmentSpec,
) -> None:
    trainee = build_trainee(small(endless, 300), 0)
    result = trainee.train()
    kept = rows(trainee)
    trainee.close()
    assert [step for step, _ in result.curve] == [128, 256, 300]
    cuts = np.flatnonzero(kept["is_over"])
    assert not kept["is_terminated"].any()
    moves = np.abs(np.diff(kept["observation_tm1"][:, 0]))
    assert moves[cuts] == pytest.approx(0.1, abs=1e-5)  # from the last real step to the observation that it led to
    resets = np.flatnonzero(~kept["is_real"])
    assert (resets == cuts + 1).all()
    assert (moves[resets] > 0.11).all()


def test_training_goes_on_after_each_evaluation_with_a_seed_that_the_run_has_not_used(
    only_one: EnvironmentSpec,
) -> None:
    trainee = build_trainee(small(only_one, 200), 0)
    OnlyOne.seeds.clear()
    trainee.train()
    used = trainee.state()["loop"]["environment_seeds"]["used"]
    trainee.close()
    again = [seed for seed in OnlyOne.seeds if seed < SELECTION_FIRST_SEED]
    assert len(again) == 2
    assert len(set(used)) == len(used) == 3
    assert set(again) < set(used)


@pytest.mark.usefixtures("only_one")
def test_what_was_learned_is_saved_where_a_selection_fails_and_the_run_goes_on_once_it_is_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments: dict[str, Any] = {"algo": "dqn", "steps": 200, "folder": tmp_path / "run"}
    arguments["tracking_uri"] = new_store(tmp_path)
    with pytest.raises(UnsupportedEnvironment, match="where 2 may not exist at a time"):
        train(OnlyOne, options={**SMALL, "evaluation_envs": 30}, **arguments)
    assert "what was learned until step 64 is saved in" in capsys.readouterr().out
    version = train(OnlyOne, options=SMALL, resume=True, **arguments)
    assert version.training.step == 200


@pytest.mark.parametrize(
    ("settings", "envs", "one"),
    [
        ({}, 100, "several"),
        ({"n_envs": 1}, 1, "one in all"),
        ({"n_envs": 1, "evaluation_envs": 8}, 8, "several"),
        ({"n_envs": 4, "evaluation_envs": 1}, 1, "several"),
    ],
)
def test_one_environment_to_learn_in_is_one_to_be_evaluated_in_unless_told(
    settings: dict[str, int], envs: int, one: str
) -> None:
    loop = with_options(recipe_for("dqn", EnvironmentSpec("CartPole-v1"), "pole"), as_settings(settings)).loop
    assert (loop.most_evaluation_envs, loop.has_one_env) == (envs, one == "one in all")


def test_fewer_than_one_environment_is_refused() -> None:
    with pytest.raises(InvalidOption, match="evaluation_envs: expected at least 1, got 0"):
        with_options(recipe_for("dqn", EnvironmentSpec("CartPole-v1"), "pole"), ["evaluation_envs=0"])


def test_an_evaluation_and_a_match_play_in_as_few_as_they_are_told(only_one: EnvironmentSpec, tmp_path: Path) -> None:
    def stay(observations: Any) -> Any:
        return np.zeros(len(observations), np.int64)

    assert len(evaluate(stay, env=only_one, episodes=3, envs=1, progress=False).returns) == 3
    side = Side(make_version(0).write(tmp_path / "version") / "model.onnx", EnvironmentSpec("CartPole-v1"))
    games = Match(side, side, 8, first_seed=2_000_000_000)
    alone = Match(side, side, 8, first_seed=2_000_000_000, envs=1)
    assert play_match(games, 1, lambda _: None) == play_match(alone, 1, lambda _: None)
    assert len(play_random(alone, 1, lambda _: None)) == 8
