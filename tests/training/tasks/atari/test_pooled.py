"""Games whose frames are the maximum of two, beside ale-py's own way to pool them."""

import numpy as np
import pytest

from polserve.training.environments.making import EnvironmentSpec, make_env, make_vec
from polserve.training.errors import UnknownEnvironment
from polserve.training.runs.defaults import recipe_for
from polserve.training.tasks.atari.task import ATARI
from polserve.training.tasks.atari.vector import AS_GYMNASIUM_MAKES_IT, make_screens
from polserve.training.tasks.catalog import published_scores

POOLED = "polserve/PooledMsPacman-v5"
CALM = {"repeat_action_probability": 0.0}


def test_frames_and_rewards_are_those_of_ale_py_with_its_pooling() -> None:
    theirs = make_vec(EnvironmentSpec("ALE/MsPacman-v5", {**CALM, **AS_GYMNASIUM_MAKES_IT, "maxpool": True}), 1)
    ours = make_env(EnvironmentSpec(POOLED, CALM))
    plain = make_env(EnvironmentSpec("ALE/MsPacman-v5", CALM))
    theirs.reset(seed=0)
    ours.reset(seed=0)
    plain.reset(seed=0)
    differing = 0
    for action in np.random.default_rng(0).integers(9, size=120):
        frames, rewards, *_ = theirs.step(np.array([action]))
        frame, reward, *_ = ours.step(action)
        unpooled, *_ = plain.step(action)
        assert np.array_equal(frame, frames.reshape(frame.shape))
        assert reward == rewards[0]
        differing += not np.array_equal(frame, unpooled)
    assert differing > 60, "figures flicker, so most pooled frames show more"
    for env in (theirs, ours, plain):
        env.close()


def test_a_pooled_game_is_learned_as_a_game_from_its_screens() -> None:
    recipe = recipe_for("dqn", EnvironmentSpec("polserve/PooledPong-v5"), "pong")
    assert (recipe.task, recipe.environment.frames) == (ATARI, 4)
    games = make_screens(recipe.environment, 2)
    stacks, _ = games.reset(seed=0)
    games.close()
    assert stacks.shape == (2, 4, 105, 80)


def test_its_published_scores_are_the_games() -> None:
    assert published_scores(POOLED) == "Published scores of the game: random 307.3, human 6951.6."


def test_a_pooled_game_that_is_not_there_is_named() -> None:
    with pytest.raises(UnknownEnvironment, match="polserve/PooledMsPacmann-v5"):
        make_env(EnvironmentSpec("polserve/PooledMsPacmann-v5"))
