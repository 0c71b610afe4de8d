"""`evaluate` as a function: what it takes, what it returns, and what it leaves alone."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.classic_control import CartPoleEnv
from numpy.typing import NDArray

from polserve.loading import LoadedPolicy, load
from polserve.training.environments.makers import EnvMaker
from polserve.training.errors import InvalidOption, RegistryError, UnknownEnvironment, UnsupportedEnvironment
from polserve.training.evaluate import evaluate, find_policy
from polserve.training.registry.lookup import BUNDLED
from polserve.training.versions.onnx_policy import OnnxPolicy
from tests.support.versions import make_version

CARTPOLE = BUNDLED / "cartpole" / "1"


class Cart(CartPoleEnv):
    """CartPole under another name."""


@pytest.fixture(autouse=True)
def _without_a_registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)


def lean(observations: NDArray[Any]) -> NDArray[np.int64]:
    """Push the cart to where its pole falls."""
    return (observations[:, 2] + 0.3 * observations[:, 3] > 0).astype(np.int64)


def tilt(observations: NDArray[Any]) -> NDArray[np.int64]:
    """Push the cart to where its pole leans, whatever its speed: it falls after some forty steps."""
    return (observations[:, 2] > 0).astype(np.int64)


def test_a_bundled_policy_is_found_by_its_name_where_there_is_no_registry() -> None:
    found = evaluate("cartpole", episodes=2)
    assert (found.policy, found.environment) == ("cartpole/1", "CartPole-v1")
    assert found.returns == [500.0, 500.0]
    assert (found.mean, found.iqm, found.interval) == (500.0, 500.0, (500.0, 500.0))
    assert found.random_summary.mean < 100
    assert found.cut_off == ""


@pytest.mark.parametrize(
    "named",
    ["cartpole/1", "cartpole@champion", CARTPOLE, str(CARTPOLE), OnnxPolicy(CARTPOLE / "model.onnx"), load(CARTPOLE)],
)
def test_a_version_is_a_name_a_folder_or_one_in_this_process(named: str | Path | OnnxPolicy | LoadedPolicy) -> None:
    assert evaluate(named, episodes=2).returns == [500.0, 500.0]


def test_a_folder_is_named_by_a_path_from_where_one_is(tmp_path: Path) -> None:
    make_version(3).write(tmp_path / "mine" / "7")
    assert evaluate("./mine/7", episodes=2).policy == "cartpole/7"


def test_a_function_of_observations_plays_in_the_environment_that_is_named() -> None:
    found = evaluate(lean, env="CartPole-v1", episodes=10)
    assert found.policy == "lean"
    assert found.mean > 3 * found.random_summary.mean


def test_the_same_policy_has_the_same_returns_again() -> None:
    assert evaluate(lean, env="CartPole-v1", episodes=3) == evaluate(lean, env="CartPole-v1", episodes=3)


def test_episodes_begin_at_the_seed_that_is_asked_for() -> None:
    block = evaluate(tilt, env="CartPole-v1", episodes=4, first_seed=2_100_000_000)
    assert evaluate(tilt, env="CartPole-v1", episodes=2, first_seed=2_100_000_002).returns == block.returns[2:]
    assert evaluate(tilt, env="CartPole-v1", episodes=4).returns != block.returns


def test_episodes_that_are_cut_off_are_told() -> None:
    found = evaluate("cartpole", episodes=2, max_steps=20)
    assert found.returns == [20.0, 20.0]
    assert found.cut_off.startswith("2 of 2 episodes were cut off after 20 steps")


@pytest.mark.filterwarnings("ignore:.*out of date")  # Gymnasium's, of an id that ends episodes earlier
def test_another_environment_of_the_same_spaces_can_be_played() -> None:
    assert evaluate("cartpole", env="CartPole-v0", episodes=2).returns == [200.0, 200.0]


@pytest.mark.parametrize(("make", "keeps"), [(Cart, True), (partial(Cart), False), (lambda: Cart(), False)])  # noqa: PLW0108
def test_the_class_that_was_trained_in_is_made_as_it_was(make: EnvMaker, keeps: bool) -> None:  # noqa: FBT001
    version = load(CARTPOLE)
    version.spec.environment.id = "Cart"
    version.spec.environment.kwargs_json = '{"sutton_barto_reward": true}'
    assert find_policy(version, env=make).environment.kwargs == ({"sutton_barto_reward": True} if keeps else {})


def test_it_prints_nothing_but_its_progress_and_sets_no_variable(capfd: pytest.CaptureFixture[str]) -> None:
    before = dict(os.environ)
    evaluate(CARTPOLE, episodes=2, progress=False)
    assert capfd.readouterr() == ("", "")
    evaluate(CARTPOLE, episodes=2)
    told = capfd.readouterr()
    assert told.out == ""
    assert "plays 2 episodes of CartPole-v1" in told.err
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("policy", "options", "error", "message"),
    [
        ("never-trained", {}, RegistryError, "no bundled policy 'never-trained'; bundled are adbudget/1, cartpole/1"),
        ("cartpole/9", {}, RegistryError, "no bundled policy 'cartpole/9'"),
        ("./nothing", {}, RegistryError, r"nothing: expected the folder of a policy version, with model\.onnx in it"),
        (lean, {}, InvalidOption, "env: expected a Gymnasium id beside a function of observations, got none"),
        (lean, {"env": "Nothing-v0"}, UnknownEnvironment, "no environment 'Nothing-v0' is registered"),
        (3, {"env": "CartPole-v1"}, InvalidOption, "policy: expected a name, a folder or a function, got 3"),
        (
            lambda _: 0,
            {"env": "CartPole-v1"},
            InvalidOption,
            r"actions of shape \(2,\), one for each observation, got an array of int64 of shape \(\)",
        ),
        (
            lambda seen: np.full(len(seen), 2),
            {"env": "CartPole-v1"},
            InvalidOption,
            r"expected actions in Discrete\(2\), got 2",
        ),
        (
            lambda seen: np.full((len(seen), 1), 2.1),
            {"env": "Pendulum-v1"},
            InvalidOption,
            r"expected actions in Box\(-2.0, 2.0, \(1,\), float32\), got \[2.1",
        ),
        (
            lean,
            {"env": gym.make("CartPole-v1")},
            InvalidOption,
            "env: expected what makes .*; got an environment, T",
        ),
        (lean, {"env": 5}, InvalidOption, "env: expected a Gymnasium id or a callable that makes the env.*, got 5"),
        ("cartpole", {"env": "Acrobot-v1"}, UnsupportedEnvironment, "cartpole cannot play Acrobot-v1"),
        ("cartpole", {"episodes": 1}, InvalidOption, "episodes: expected 2 or more, got 1"),
        ("cartpole", {"max_steps": 0}, InvalidOption, "max_steps: expected 1 or more, got 0"),
        ("cartpole", {"first_seed": 7}, InvalidOption, r"first_seed: expected 2,000,000,000 to .*training, got 7"),
        ("cartpole", {"first_seed": 2**31 - 1}, InvalidOption, "first_seed: expected .* to 2,147,483,646, .* got"),
        ("cartpole", {"tracking_uri": "ftp://x"}, RegistryError, "tracking_uri: expected http://, https:// or a data"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_with_the_reason(
    policy: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        evaluate(policy, **{"episodes": 2, **options})
