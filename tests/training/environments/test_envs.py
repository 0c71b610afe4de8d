from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Text
from numpy.typing import NDArray

from polserve.training.environments.descriptions import describe
from polserve.training.environments.inspection import inspect_environment
from polserve.training.environments.makers import maker_name
from polserve.training.environments.making import EnvironmentSpec, make_env, make_vec
from polserve.training.environments.spaces import component_bounds, discrete_actions, observation_box
from polserve.training.errors import InvalidOption, UnknownEnvironment, UnsupportedEnvironment
from polserve.training.evaluation.episodes import ObservationSample, play_episodes, play_together, random_policy
from polserve.training.learning.collector import Collector
from polserve.training.play import check_renders
from polserve.training.runs.recipe import Recipe
from polserve.training.runs.trainee import build_trainee
from tests.support.strangers import Line

CART_POLE = EnvironmentSpec("CartPole-v1")


class Corridor(gym.Env[NDArray[np.float32], np.int64]):
    """Two steps to the end; the observation counts them."""

    metadata = {"render_modes": [], "observation_components": [["steps", ""]], "action_labels": ["wait", "walk"]}  # noqa: RUF012
    observation_space = Box(0, 10, (1,), np.float32)
    action_space = Discrete(2)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(
        self, *, seed: int | None = None, options: dict[str, object] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return np.full(1, self.steps, np.float32), float(action), self.steps == 2, False, {}


@pytest.fixture
def corridor() -> Iterator[EnvironmentSpec]:
    gym.register("Corridor-v0", Corridor)  # type: ignore[arg-type]
    yield EnvironmentSpec("Corridor-v0")
    del gym.registry["Corridor-v0"]


def test_an_environment_is_made_by_a_callable_that_is_registered_nowhere() -> None:
    spec = EnvironmentSpec("mine", maker=Corridor)
    assert make_env(spec).observation_space.shape == (1,)
    assert make_vec(spec, 3).num_envs == 3
    assert inspect_environment(spec).action_space == Corridor.action_space
    played = play_episodes(random_policy(spec, 0), spec, 3, 0)
    assert [episode.length for episode in played] == [2, 2, 2]
    assert "mine" not in gym.registry


def test_what_makes_environments_must_not_give_one_again() -> None:
    one = Corridor()
    spec = EnvironmentSpec("mine", maker=lambda: one)
    assert make_vec(spec, 1).num_envs == 1
    with pytest.raises(UnsupportedEnvironment, match=r"mine: expected 3 environments, .* the same object again; make"):
        make_vec(spec, 3)


@pytest.mark.parametrize(
    ("other", "keeps"), [("Here-v0", True), ("mine:Here-v0", True), ("There-v0", False), ("WasHere-v0", False)]
)
def test_the_same_environment_keeps_its_arguments_and_another_has_none(other: str, keeps: bool) -> None:  # noqa: FBT001
    here = EnvironmentSpec("Here-v0", {"wind": 3}, frames=2)
    assert here.instead(other) == EnvironmentSpec(other, {"wind": 3} if keeps else {}, frames=2)


@pytest.mark.filterwarnings("ignore:.*out of date")
@pytest.mark.parametrize(
    ("environment_id", "limit"), [("CartPole-v0", 200), ("CartPole-v1", 500), ("MountainCar-v0", 200)]
)
def test_classic_environments_are_made_by_id_and_end_at_their_limit(environment_id: str, limit: int) -> None:
    spec = EnvironmentSpec(environment_id)
    env = make_env(spec)
    assert env.spec is not None
    assert env.spec.max_episode_steps == limit
    envs = make_vec(spec, 3)
    lengths = [episode.length for episode in play_episodes(random_policy(spec, 0), spec, 3, 0)]
    assert envs.num_envs == 3
    assert max(lengths) <= limit


@pytest.mark.filterwarnings("ignore:.*out of date")
def test_the_vectorised_cart_pole_v0_is_truncated_at_200_steps() -> None:
    spec = EnvironmentSpec("CartPole-v0")

    def balance(observations: NDArray[np.float32]) -> NDArray[np.int64]:
        return (observations[:, 2] + 0.3 * observations[:, 3] > 0).astype(np.int64)

    lengths = [episode.length for episode in play_together(balance, lambda n: make_vec(spec, n), 20, 0)]
    assert max(lengths) == 200


def test_an_unknown_id_names_those_near_it() -> None:
    with pytest.raises(UnknownEnvironment, match=r"near it: .*CartPole-v1"):
        make_env(EnvironmentSpec("CartPol-v1"))


def test_an_unknown_id_asks_for_its_module_where_none_is_given() -> None:
    with pytest.raises(UnknownEnvironment, match="; give the module that registers it as --module; near it: CartPole-"):
        make_env(EnvironmentSpec("CartPol-v1"))
    with pytest.raises(UnknownEnvironment, match="is registered with Gymnasium; near it: CartPole-"):
        make_env(EnvironmentSpec("CartPol-v1", module="math"))
    with pytest.raises(UnknownEnvironment, match=r"; give the module that registers it as --module$"):
        make_env(EnvironmentSpec("Qqqqqqqqqqqqqqqqqq-v1"))


def test_an_id_with_its_module_is_told_how_to_be_given() -> None:
    with pytest.raises(UnknownEnvironment, match="give it as --module my_envs --env Mine-v0"):
        make_env(EnvironmentSpec("my_envs:Mine-v0"))


def test_an_id_without_a_version_is_told_that_a_callable_may_make_it() -> None:
    told = "if a callable makes it, give that in Python: as environment to train, as env to evaluate and promote"
    with pytest.raises(UnknownEnvironment, match=told):
        make_env(EnvironmentSpec("Warehouse"))


def test_a_module_that_cannot_be_imported_is_named() -> None:
    with pytest.raises(UnknownEnvironment, match="module 'no_such_envs', which should register Mine-v0"):
        make_env(EnvironmentSpec("Mine-v0", module="no_such_envs"))


def test_arguments_that_the_environment_does_not_take_are_refused() -> None:
    with pytest.raises(InvalidOption, match="CartPole-v1 does not take the arguments"):
        make_env(EnvironmentSpec("CartPole-v1", {"gravity_on_mars": 1}))


def test_a_module_of_the_users_own_registers_its_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_envs.py").write_text(
        "import gymnasium\ngymnasium.register('Own-v0', 'gymnasium.envs.classic_control:CartPoleEnv')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert make_env(EnvironmentSpec("Own-v0", module="own_envs")).observation_space.shape == (4,)


def test_spaces_that_dqn_cannot_use_are_refused_with_what_is_needed() -> None:
    with pytest.raises(UnsupportedEnvironment, match="expected observations in a Box"):
        observation_box(Dict({"a": Text(5)}), "Mine-v0")
    with pytest.raises(UnsupportedEnvironment, match=r"DQN needs actions in Discrete\(n\), got"):
        discrete_actions(Box(-1, 1, (2,)), "Pendulum-v1")


def test_the_step_that_only_resets_is_marked_and_counted_in_no_episode(corridor: EnvironmentSpec) -> None:
    collector = Collector(make_vec(corridor, 2), [0, 1])
    steps = [collector.step(lambda observations: np.ones(len(observations), np.int64)) for _ in range(6)]
    assert [bool(step.is_real[0]) for step in steps] == [True, True, False, True, True, False]
    assert [bool(step.is_terminated[0]) for step in steps] == [False, True, False, False, True, False]
    assert [float(step.observation_tm1[0, 0]) for step in steps] == [0, 1, 2, 0, 1, 2]
    assert {(episode.episode_return, episode.length) for episode in collector.finished()} == {(2.0, 2)}


def test_an_environment_that_cannot_draw_itself_is_told_before_it_plays(corridor: EnvironmentSpec) -> None:
    with pytest.raises(UnsupportedEnvironment, match="expected 'rgb_array' among its render_modes"):
        check_renders(corridor)


def test_an_episode_depends_on_its_own_seed_alone() -> None:
    policy = random_policy(CART_POLE, 0)

    def left(observations: np.ndarray) -> np.ndarray:
        return (observations[:, 2] > 0).astype(np.int64)

    together = play_episodes(left, CART_POLE, 4, 100)
    alone = [play_episodes(left, CART_POLE, 1, 100 + i)[0] for i in range(4)]
    assert together == alone
    assert len(play_episodes(policy, CART_POLE, 130, 0)) == 130


def test_the_sample_of_observations_is_of_its_size_and_of_what_was_met(corridor: EnvironmentSpec) -> None:
    sample = ObservationSample(random_policy(corridor, 0), 7, np.random.default_rng(0))
    play_episodes(sample, corridor, 30, 0)
    assert sample.observations().shape == (7, 1)
    assert set(sample.observations().ravel()) <= {0.0, 1.0, 2.0}


def test_bounds_are_given_once_where_all_components_share_them() -> None:
    assert component_bounds(Box(0, 255, (2, 2), np.uint8)) == ([0.0], [255.0])
    assert component_bounds(Box(np.array([0, 1], np.float32), np.array([2, 2], np.float32)))[0] == [0.0, 1.0]


def test_an_environment_describes_itself_in_its_metadata(corridor: EnvironmentSpec) -> None:
    description = describe(corridor.id, make_env(corridor))
    assert description.components == (("steps", ""),)
    assert description.labels == ("wait", "walk")


@pytest.mark.parametrize(
    ("key", "told", "message"),
    [
        ("observation_components", ["steps"], r"expected 1 of \[name, unit\]"),
        ("observation_components", [["a", ""], ["b", ""]], r"expected 1 of \[name, unit\]"),
        ("action_labels", ["wait"], "expected the names of its 2 discrete actions"),
        ("action_labels", "go", "expected the names of its 2 discrete actions"),
    ],
)
def test_a_description_of_another_form_is_refused_before_training(
    corridor: EnvironmentSpec, monkeypatch: pytest.MonkeyPatch, key: str, told: object, message: str
) -> None:
    monkeypatch.setitem(Corridor.metadata, key, told)
    with pytest.raises(UnsupportedEnvironment, match=message):
        build_trainee(Recipe("corridor", corridor), 0)


def _fails() -> Line:
    raise RuntimeError("no such line")


@pytest.mark.parametrize(
    ("maker", "name"),
    [
        (Line, "Line"),
        (partial(Line), "Line"),
        (lambda: Line(), "Line"),  # noqa: PLW0108 - what a person writes
        (partial(lambda limit: gym.wrappers.TimeLimit(Line(), limit), 5), "Line"),
        (lambda: gym.make("CartPole-v1"), "CartPoleEnv"),
        (lambda: _fails(), "environment"),  # noqa: PLW0108 - likewise
        (_fails, "_fails"),
    ],
)
def test_an_environment_is_named_after_what_makes_it_or_after_its_class(maker: Any, name: str) -> None:
    assert maker_name(maker) == name


def test_a_maker_without_a_name_is_given_the_keyword_arguments() -> None:
    assert maker_name(lambda wind: Line() if wind else _fails(), {"wind": 1}) == "Line"
