"""A run is resumed only as what it was."""

import dataclasses
from pathlib import Path

import pytest

from polserve.training.environments.making import EnvironmentSpec
from polserve.training.errors import CheckpointError
from polserve.training.runs import folder as run_folder
from polserve.training.runs.defaults import Algorithm, defaults_of
from polserve.training.runs.identity import check_same_run, identity_of
from polserve.training.runs.presets import PRESETS
from polserve.training.runs.recipe import Recipe, with_options
from polserve.training.runs.request import TrainRequest
from tests.support.strangers import Line

LINE = EnvironmentSpec("Line-v0")


def refusal(saved: Recipe, ours: Recipe) -> str:
    with pytest.raises(CheckpointError) as refused:
        check_same_run(identity_of(saved, 0), identity_of(ours, 0))
    return str(refused.value)


@pytest.mark.parametrize(
    ("saved", "ours"), [("dqn", "pqn"), ("td3", "ddpg"), ("ddpg", "sac"), ("sac", "dqn"), ("pqn", "td3")]
)
def test_another_algorithm_is_named_and_none_of_the_settings_that_follow_it(saved: Algorithm, ours: Algorithm) -> None:
    told = refusal(defaults_of(saved, LINE, "line"), defaults_of(ours, LINE, "line"))
    assert told == (
        f"the checkpoint is of another run: its algorithm was {saved} and is {ours}; "
        "resume with the settings that the run was started with, or start anew without --resume"
    )


def test_another_environment_is_named_before_all_else() -> None:
    other = defaults_of("sac", EnvironmentSpec("Other-v0"), "line")
    assert "another run: its environment was Line-v0 and is Other-v0; resume" in refusal(
        defaults_of("dqn", LINE, "line"), other
    )


def test_few_settings_are_listed_and_many_are_counted() -> None:
    recipe = defaults_of("dqn", LINE, "line")
    assert "another run: n_step was 3 and is 5; resume" in refusal(recipe, with_options(recipe, ["n_step=5"]))
    preset = dataclasses.replace(PRESETS["mspacman"], environment=LINE)
    told = refusal(recipe, preset)
    assert told.count(" was ") == 7  # with that the run "was started with"
    assert " settings more; resume" in told


def test_a_run_by_an_earlier_version_goes_on_in_an_environment_that_a_callable_makes() -> None:
    recipe = defaults_of("dqn", LINE, "line")
    earlier = {**identity_of(recipe, 0), "environment": "environment"}
    check_same_run(earlier, identity_of(recipe, 0), is_by_maker=True)
    with pytest.raises(CheckpointError, match="its environment was environment and is Line-v0"):
        check_same_run(earlier, identity_of(recipe, 0))
    with pytest.raises(CheckpointError, match="its environment was Line-v0 and is environment"):
        check_same_run(identity_of(recipe, 0), earlier, is_by_maker=True)


@pytest.mark.parametrize("name", [None, "mine"])
def test_the_folder_of_such_a_run_is_found(name: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    request = TrainRequest(lambda: Line(), "dqn", name=name)  # noqa: PLW0108 - as the runs of earlier versions had it
    policy = request.recipe().policy
    ours, earlier = run_folder.default_folder(policy, 0), run_folder.default_folder("environment", 0)
    assert request.default_folder(policy, is_resumed=True) == ours
    for folder, found in ((earlier, earlier), (ours, ours)):
        folder.mkdir(parents=True)
        named = TrainRequest(Line, "dqn", name=name)
        assert named.default_folder("other", is_resumed=True) != earlier, "a class was never named so"
        (folder / run_folder.FILE_NAME).touch()
        assert request.default_folder(policy, is_resumed=True) == found
        assert request.default_folder(policy, is_resumed=False) == ours


def test_a_run_whose_pictures_were_not_scaled_as_they_are_now_is_another() -> None:
    recipe = defaults_of("dqn", LINE, "line")
    earlier = identity_of(recipe, 0)
    check_same_run(earlier, identity_of(recipe, 0, highest=255.0))
    with pytest.raises(CheckpointError, match=r"observations_divided_by was absent and is 200\.0"):
        check_same_run(earlier, identity_of(recipe, 0, highest=200.0))
