"""Who trains on pictures need not say how a network takes them."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from polserve.training.environments.making import EnvironmentSpec
from polserve.training.errors import InvalidOption
from polserve.training.learning.hyperparameters import DqnConfig
from polserve.training.learning.rewards import treat
from polserve.training.runs.defaults import Algorithm, recipe_for
from polserve.training.runs.presets import PRESETS
from polserve.training.runs.recipe import Recipe, with_options
from polserve.training.runs.trainee import build_trainee
from polserve.training.tasks.atari.task import ATARI, emits_colour_frames
from tests.support.strangers import Line, registered

SMALL = ("n_envs=2", "hidden_sizes=8", "batch_size=8", "learning_starts=20", "replay_capacity=200")
FAST = ("mixed_precision=false", "updates_per_vector_step=1")


@pytest.mark.parametrize("environment_id", ["ALE/Breakout-v5", "PongNoFrameskip-v4", "Seaquest-v4"])
def test_an_atari_game_is_learned_as_ms_pacman_is(environment_id: str) -> None:
    preset = PRESETS["mspacman"]
    recipe = recipe_for("dqn", EnvironmentSpec(environment_id), "game")
    assert (recipe.policy, recipe.environment.id, recipe.environment.frames) == ("game", environment_id, 4)
    assert recipe.task is ATARI
    assert (recipe.network, recipe.loop, recipe.replay) == (preset.network, preset.loop, preset.replay)
    assert isinstance(recipe.agent, DqnConfig)
    assert dataclasses.replace(recipe.agent, kappa=1.0, adam_epsilon=1e-4) == preset.agent
    changed = with_options(recipe, ["batch_size=32", "frames=2"])
    assert changed.agent == dataclasses.replace(recipe.agent, batch_size=32)
    assert changed.environment.frames == 2


@pytest.mark.parametrize(
    ("shape", "seen", "bound", "says"),
    [
        ((7, 7, 3), 10, 255, True),  # kinds of things in MiniGrid
        ((3, 7, 7), 10, 255, True),
        ((7, 7, 3), 10, 10, False),
        ((7, 7, 3), 200, 255, False),
        ((7, 7, 3), 0, 255, False),
        ((84, 84, 3), 10, 255, False),
        ((7,), 10, 255, False),
    ],
)
def test_small_pictures_that_are_nearly_black_are_told(
    shape: tuple[int, ...], seen: int, bound: int, *, says: bool
) -> None:
    space = Box(0, bound, shape, np.uint8)

    class Rooms(Line):
        observation_space = space

        def look(self) -> Any:
            return np.full(shape, seen, np.uint8)

    with registered(Rooms) as spec:
        trainee = build_trainee(with_options(recipe_for("dqn", spec, "rooms"), SMALL), 0, "cpu")
    trainee.close()
    told = [note for note in trainee.notes if "reached 10 of 255" in note]
    assert len(told) == says
    assert all("such as Box(0, 10, ...)" in note for note in told)


@pytest.mark.parametrize("algorithm", ["dqn", "pqn"])
def test_a_point_counts_the_same_in_every_game(algorithm: Algorithm) -> None:
    rewards = recipe_for(algorithm, EnvironmentSpec("ALE/Pong-v5"), "pong").rewards
    paid = np.array([-1.0, 0.0, 1.0, 200.0], np.float32)
    assert treat(paid, rewards.reward_treatment, rewards.reward_scale).tolist() == [-1.0, 0.0, 1.0, 1.0]


def test_a_game_without_a_frame_skip_is_said_to_be_hard_and_learned_with_one() -> None:
    bare = EnvironmentSpec("PongNoFrameskip-v4")
    for environment, says in ((bare, 1), (dataclasses.replace(bare, kwargs={"frameskip": 4}), 0)):
        recipe = with_options(recipe_for("dqn", environment, "pong"), [*SMALL, *FAST])
        trainee = build_trainee(recipe, 0, "cpu")
        next(iter(trainee.loop.run()))
        trainee.close()
        assert [("frameskip" in note) for note in trainee.notes] == [True] * says


def test_a_game_that_emits_something_else_than_colour_frames_is_left_to_the_other_tasks() -> None:
    assert emits_colour_frames(EnvironmentSpec("ALE/Breakout-v5"))
    for other in (
        EnvironmentSpec("ALE/Breakout-v5", {"obs_type": "ram"}),
        EnvironmentSpec("ALE/Breakout-v5", {"obs_type": "grayscale"}),
        EnvironmentSpec("CartPole-v1"),
        EnvironmentSpec("NoSuchGame-v4"),
        EnvironmentSpec("ALE/Breakout-v5", module="mine"),
    ):
        assert not emits_colour_frames(other)
        assert recipe_for("dqn", other, "other").task is not ATARI


def test_a_game_with_its_own_actions_is_learned_and_exported_from_its_frames() -> None:
    recipe = with_options(recipe_for("dqn", EnvironmentSpec("ALE/Breakout-v5"), "breakout"), [*SMALL, *FAST])
    trainee = build_trainee(recipe, 0, "cpu")
    try:
        steps = iter(trainee.loop.run())
        for _ in range(12):
            next(steps)
        frames = np.zeros((2, 4, 210, 160, 3), np.uint8)
        assert trainee.agent.greedy(np.zeros((2, 4, 105, 80), np.uint8)).shape == (2,)
        actions, values = trainee.agent.policy()(torch.from_numpy(frames))
        assert (tuple(actions.shape), tuple(values.shape)) == ((2,), (2, 4))
    finally:
        trainee.close()


def test_pictures_of_any_environment_are_stacked_where_that_is_asked_for() -> None:
    class Camera(Line):
        observation_space = Box(0, 255, (40, 40, 3), np.uint8)

        def look(self) -> Any:
            return np.full((40, 40, 3), 7, np.uint8)

    with registered(Camera) as spec:
        recipe = with_options(Recipe("camera", spec), [*SMALL, "frames=3"])
        trainee = build_trainee(recipe, 0, "cpu")
        assert trainee.facts.frames == 3
        assert "images of 40 x 40 pixels with 9 channels" in " ".join(trainee.notes)
        next(iter(trainee.loop.run()))
        trainee.close()


@pytest.mark.parametrize("frames", ["-1", "17", "many", "1.5"])
def test_a_stack_of_another_length_is_refused(frames: str) -> None:
    with pytest.raises(InvalidOption, match="frames: expected"):
        with_options(PRESETS["mspacman"], [f"frames={frames}"])


def test_an_atari_game_needs_a_stack() -> None:
    recipe = with_options(PRESETS["mspacman"], ["frames=0"])
    with pytest.raises(InvalidOption, match="frames: expected 1 or more for an Atari game, got 0"):
        build_trainee(recipe, 0, "cpu")
