"""Environments that go wrong in the middle of a run, or whose returns and lengths are odd."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box

from polserve.training.environments.making import EnvironmentSpec
from polserve.training.errors import FaultyEnvironment
from polserve.training.evaluation.comparison import compare
from polserve.training.evaluation.episodes import play_episodes, random_policy
from polserve.training.promotion.match import Match, Side, play_match
from polserve.training.runs.defaults import Algorithm, recipe_for
from polserve.training.runs.recipe import Recipe, with_options
from polserve.training.runs.request import as_settings
from polserve.training.runs.trainee import build_trainee
from polserve.training.train import TrainedVersion, train
from tests.support.stores import new_store
from tests.support.strangers import Line, registered
from tests.support.versions import make_version

# MLflow warns of itself when it is imported, and of the store that it keeps on this machine.
pytestmark = pytest.mark.filterwarnings("ignore")

SMALL: dict[str, Any] = {
    "steps": 600,
    "n_envs": 4,
    "evaluation_episodes": 4,
    "selection_episodes": 2,
    "learning_starts": 64,
    "batch_size": 16,
    "hidden_sizes": (16,),
    "evaluate_every": 200,
    "max_evaluation_steps": 50,
}
FALL = 300
"""Step of all environments together in which the simulator falls over."""


def small(algorithm: Algorithm, environment: EnvironmentSpec) -> Recipe:
    return with_options(recipe_for(algorithm, environment, "small"), as_settings(SMALL))


@pytest.fixture
def learn(tmp_path: Path) -> Callable[..., TrainedVersion]:
    """Train with few steps, in this test's folder."""
    store = new_store(tmp_path)

    def learn(environment: Any, **changes: Any) -> TrainedVersion:
        options = {name: value for name, value in SMALL.items() if name != "steps"}
        arguments: dict[str, Any] = {"steps": 600, "progress": False, "tracking_uri": store, **changes}
        return train(environment, algo="dqn", options=options, folder=tmp_path / "run", **arguments)

    return learn


class Short(Line):
    def is_over(self) -> bool:
        return self.steps >= 10


class FallsOnce(Short):
    """A simulator that gives one reward that is no number, after many good ones, and then recovers."""

    reward = np.nan
    steps_taken: Iterator[int]

    def earn(self) -> Any:
        return self.reward if next(self.steps_taken) == FALL else super().earn()


def test_a_reward_that_is_no_number_ends_a_run_which_goes_on_from_there(
    learn: Callable[..., TrainedVersion], capsys: pytest.CaptureFixture[str]
) -> None:
    falls = type("FallsOnce", (FallsOnce,), {"steps_taken": itertools.count()})
    with pytest.raises(FaultyEnvironment, match=r"step \d+ of an episode.* gave the reward nan"):
        learn(falls, progress=True)
    told = capsys.readouterr().out
    assert "what was learned until step" in told
    assert "resume=True goes on from there" in told
    version = learn(falls, resume=True)
    assert version.training.step >= 600
    assert np.isfinite(version.evaluation.summary.mean)


@pytest.mark.parametrize("reward", [np.inf, -np.inf])
def test_an_infinite_reward_is_never_learned_from(reward: float) -> None:
    falls = type("FallsOnce", (FallsOnce,), {"steps_taken": itertools.count(), "reward": reward})
    with registered(falls) as spec:
        trainee = build_trainee(small("dqn", spec), 0)
        with pytest.raises(FaultyEnvironment, match=rf"step \d+ of an episode.* gave the reward {reward}"):
            trainee.train()
    trainee.close()
    assert all(tensor.isfinite().all() for tensor in trainee.agent.weights().values())


@pytest.mark.parametrize(
    ("algorithm", "space"), [("dqn", Line.action_space), ("td3", Box(-1.0, 1.0, (1,), np.float32))]
)
def test_returns_that_are_all_equal_are_learned_from(algorithm: Algorithm, space: gym.Space[Any]) -> None:
    equal = type("Equal", (Short,), {"earn": lambda _: 1.0, "action_space": space})
    with registered(equal) as spec:
        trainee = build_trainee(small(algorithm, spec), 0)
        result = trainee.train()
    trainee.close()
    assert {score for _, score in result.curve} == {10.0}
    assert all(tensor.isfinite().all() for tensor in result.weights.values())


def test_one_game_chooses_the_checkpoint_where_that_is_asked_for() -> None:
    with registered(Short) as spec:
        trainee = build_trainee(with_options(small("dqn", spec), ["selection_episodes=1"]), 0)
        result = trainee.train()
    trainee.close()
    assert len(result.curve) >= 2
    assert result.best_score == max(score for _, score in result.curve)


class LongOrShort(Line):
    """Every other seed has episodes that are a thousand times as long."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        self.length = 1 if seed is None or seed % 2 == 0 else 1_000
        return super().reset(seed=seed, options=options)

    def earn(self) -> float:
        return 1.0

    def is_over(self) -> bool:
        return self.steps >= self.length


def test_episodes_that_differ_in_length_a_thousandfold_are_counted_whole() -> None:
    with registered(LongOrShort, max_episode_steps=None) as spec:
        played = play_episodes(random_policy(spec, 0), spec, 4, first_seed=0)
    assert [episode.length for episode in played] == [1, 1_000, 1, 1_000]
    assert [episode.episode_return for episode in played] == [1, 1_000, 1, 1_000]
    assert not any(episode.is_cut_off for episode in played)


def test_a_run_learns_from_episodes_that_differ_in_length_a_thousandfold() -> None:
    with registered(LongOrShort, max_episode_steps=None) as spec:
        recipe = with_options(small("dqn", spec), ["max_evaluation_steps=2000", "evaluate_every=600"])
        trainee = build_trainee(recipe, 0)
        result = trainee.train()
    trainee.close()
    assert result.episodes > 10
    assert result.best_score == pytest.approx(1_001 / 2)


def test_returns_of_both_lengths_are_compared_by_a_figure_that_sees_them() -> None:
    rng = np.random.default_rng(0)
    weak, strong = (rng.choice([1.0, 1_000.0], 300, p=[1 - part, part]) for part in (0.1, 0.3))
    assert compare(strong, weak).difference.low > 0


class Breaks(gym.Wrapper[Any, Any, Any, Any]):
    """A pole that breaks when it is pushed to the left."""

    def __init__(self, **_: Any) -> None:
        super().__init__(gym.make("CartPole-v1"))

    def step(self, action: Any) -> Any:
        if action == 0:
            raise RuntimeError("the arm hit the table")
        return super().step(action)


@pytest.mark.parametrize("role", ["candidate", "champion"])
def test_who_crashed_the_environment_of_a_match_is_told(role: str, tmp_path: Path) -> None:
    graph = make_version(0).write(tmp_path / "version") / "model.onnx"
    good = Side(graph, EnvironmentSpec("CartPole-v1"))
    match = Match(good, good, 2, first_seed=0)
    with registered(Breaks) as spec:
        side = Side(graph, spec)
        broken = replace(match, candidate=side) if role == "candidate" else replace(match, champion=side)
        with pytest.raises(FaultyEnvironment, match=f"in a game of the {role}, Odd-v0: .*the arm hit the table"):
            play_match(broken, 1, lambda _: None)
