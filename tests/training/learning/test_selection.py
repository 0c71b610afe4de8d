"""Evaluations are counted apart, take their share and no more, and end where nothing more can come of them."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from polserve.training.environments.making import EnvironmentSpec, make_vec
from polserve.training.errors import InvalidOption
from polserve.training.learning.collector import ChooseActions
from polserve.training.learning.hyperparameters import LoopConfig, NetworkConfig, ReplayConfig
from polserve.training.learning.scores import Score, SelectionGames
from polserve.training.learning.selection import Selection
from polserve.training.runs.recipe import Recipe, with_options
from polserve.training.runs.trainee import Trainee, build_trainee
from polserve.training.tasks.selection import is_clearly_worse, mean_return

CARTPOLE = EnvironmentSpec("CartPole-v1")
GAMES = SelectionGames(1_000_000_000, 50, 500)
RECIPE = Recipe(
    "small",
    CARTPOLE,
    LoopConfig(steps=800, n_envs=4, evaluate_every=40, selection_episodes=10),
    network=NetworkConfig(hidden_sizes=(8,)),
    replay=ReplayConfig(learning_starts=10_000),
)


@pytest.fixture
def trainee() -> Iterator[Trainee]:
    """A run that has not begun."""
    trainee = build_trainee(RECIPE, 0)
    yield trainee
    trainee.close()


def upright(observations: NDArray[Any]) -> NDArray[Any]:
    """A rule that keeps the pole up for long."""
    return np.asarray(observations[:, 2] + observations[:, 3] > 0, np.int64)


def falling(observations: NDArray[Any]) -> NDArray[Any]:
    """Actions that let the pole fall at once."""
    return np.zeros(len(observations), np.int64)


def score(choose_actions: ChooseActions, best: Score | None = None) -> Score:
    return mean_return(lambda n: make_vec(CARTPOLE, n), GAMES, choose_actions, best)


def test_a_policy_that_is_clearly_worse_plays_a_part_of_the_games() -> None:
    best = score(upright)
    assert (best.is_whole, len(best.returns)) == (True, 50)
    assert sum(best.returns) <= best.steps <= 50 * 500  # the vectorised environment steps on where an episode is over
    worse = score(falling, best)
    assert (worse.is_whole, len(worse.returns)) == (False, 10)
    assert worse.returns == score(falling).returns[:10], "the same games as of the whole"


def test_a_policy_that_may_be_better_plays_all_games() -> None:
    worse = score(falling)
    assert score(upright, worse).is_whole
    assert score(falling, worse).is_whole, "an equal one is not clearly worse"


@pytest.mark.parametrize(
    ("returns", "best", "expected"),
    [
        ([1.0] * 10, [2.0] * 30, True),
        ([2.0] * 10, [2.0] * 30, False),
        ([3.0] * 10, [2.0] * 30, False),
        ([0.0] * 10, [1.0] + [0.0] * 29, False),  # one lucky game tells nothing
        ([0.0] * 9, [5.0] * 30, False),  # too few
        ([0.0] * 10, [5.0] * 9, False),  # of another number of games
        ([math.nan] * 10, [5.0] * 30, False),
    ],
)
def test_clearly_worse_takes_ten_games_and_three_standard_errors(
    returns: list[float], best: list[float], *, expected: bool
) -> None:
    assert is_clearly_worse(returns, best) is expected


def test_equal_policies_are_hardly_ever_called_worse_though_returns_are_skewed() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.exponential(size=(2_000, 2, 20))
    assert np.mean([is_clearly_worse(*pair) for pair in drawn]) < 0.01


def test_training_tells_how_far_an_evaluation_is(trainee: Trainee) -> None:
    heard: list[float] = []
    trainee.train(hear_games=heard.append)
    assert heard[0] < 1 < heard[-1] == RECIPE.loop.selection_episodes


def test_steps_learned_from_and_evaluated_on_are_counted_apart(trainee: Trainee) -> None:
    *_, last = trainee.loop.run()
    result = trainee.loop.result()
    assert (last.step, last.selection_steps) == (result.step, result.selection_steps)
    assert result.selection_steps > 0
    assert trainee.loop.figures().metrics["charts/selection_steps"] == result.selection_steps


def test_evaluations_wait_until_they_take_no_more_than_their_share(trainee: Trainee) -> None:
    often = build_trainee(replace(RECIPE, loop=replace(RECIPE.loop, selection_share=1.0)), 0)
    result, frequent = trainee.train(), often.train()
    often.close()
    assert len(frequent.curve) == 20
    assert 2 < len(result.curve) < 20
    largest = 10 * 60  # steps of the longest evaluation
    assert result.selection_steps <= result.step + 2 * largest


def test_an_evaluation_that_waits_is_due_at_the_next_step_that_it_fits() -> None:
    config = LoopConfig(steps=1_000, evaluate_every=100, selection_share=0.5)
    selection = Selection(lambda _choose, _best: Score(0.0, 0), config)
    assert not selection.is_due(0, 90)
    assert selection.is_due(90, 100)
    selection.steps = 150
    assert not selection.is_due(100, 110)
    restored = Selection(lambda _choose, _best: Score(0.0, 0), config)
    restored.load_state(selection.state())
    assert not restored.is_due(110, 140)
    assert restored.is_due(140, 150)
    restored.steps = 10_000
    assert restored.is_due(990, 1_000), "the last one never waits"


def test_a_share_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidOption, match="selection_share: expected a number above 0, up to 1, got 0"):
        with_options(RECIPE, ["selection_share=0"])
