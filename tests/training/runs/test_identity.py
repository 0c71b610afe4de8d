"""A run is resumed only as what it was."""

import dataclasses

import pytest

from polserve.training.environments.making import EnvironmentSpec
from polserve.training.errors import CheckpointError
from polserve.training.runs.identity import check_same_run, identity_of
from polserve.training.runs.presets import PRESETS, Algorithm, defaults_of
from polserve.training.runs.recipe import Recipe, with_options

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
