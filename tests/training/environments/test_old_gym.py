"""Environments that the unmaintained gym registers, with the real package in an environment of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from polserve.training.environments.making import EnvironmentSpec, make_env
from polserve.training.errors import UnknownEnvironment
from polserve.training.runs.request import TrainRequest
from tests.support.installing import install_packages
from tests.support.running import ROOT, environment

MODULE = """
import gym
import gym.wrappers
import numpy as np
from gym.envs.classic_control import CartPoleEnv


class OldLine(gym.Env):
    metadata = {"render.modes": ["rgb_array"], "observation_components": [["place", "m"], ["distance", "m"]]}
    observation_space = gym.spaces.Box(-10.0, 10.0, (2,), np.float64)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, width=3.0):
        self.width = width

    def seed(self, seed=None):
        self.rng = np.random.default_rng(seed)

    def reset(self):
        self.x = self.rng.uniform(-self.width, self.width)
        return np.array([self.x, abs(self.x)])

    def step(self, action):
        self.x += 0.1 if action else -0.1
        return np.array([self.x, abs(self.x)]), -abs(self.x), abs(self.x) > 3.2, {}

    def render(self, mode="human"):
        return np.zeros((20, 30, 3), np.uint8)


class Guarded(gym.Wrapper):
    def step(self, action):
        observation, reward, done, info = self.env.step(action)
        return observation, reward, True, {**info, "TimeLimit.truncated": True}


gym.envs.registration.register(id="OldLine-v0", entry_point=OldLine, max_episode_steps=20)
gym.envs.registration.register(id="Guarded-v0", entry_point=lambda: Guarded(OldLine()))
gym.envs.registration.register(id="Short-v0", entry_point=lambda: gym.wrappers.TimeLimit(CartPoleEnv(), 3))
"""

LOOK = """
import sys
import gymnasium
from polserve.training.environments.inspection import inspect_environment
from polserve.training.environments.making import EnvironmentSpec, make_env
from polserve.training.evaluation.episodes import play_episodes, random_policy

for name in ("CartPole-v1", "Pendulum-v1", "OldLine-v0"):
    spec = EnvironmentSpec(f"gym:{name}", module="old_envs")
    facts = inspect_environment(spec)
    assert facts.description.components, name
    assert not facts.cautions, facts.cautions
    games = [play_episodes(random_policy(spec, 0), spec, 3, 5) for _ in range(2)]
    assert games[0] == games[1], name
    print(name, facts.observation_space.shape, facts.action_space, max(game.length for game in games[0]))

line = EnvironmentSpec("gym:OldLine-v0", {"width": 0.0}, module="old_envs")
env = make_env(line, "rgb_array")
env.reset(seed=0)
assert env.render().shape == (20, 30, 3)
ends = [env.step(1)[2:4] for _ in range(20)]
assert ends[-1] == (False, True) and ends[0] == (False, False), ends
env.reset(seed=0)
env.unwrapped.old.x = 3.15
assert env.step(1)[2:4] == (True, False)
short = make_env(EnvironmentSpec("gym:Short-v0", module="old_envs"))
short.reset(seed=0)
assert [short.step(0)[2:4] for _ in range(3)][1:] == [(False, False), (False, True)]
guarded = make_env(EnvironmentSpec("gym:Guarded-v0", module="old_envs"))
guarded.reset(seed=0)
assert guarded.step(1)[2:4] == (False, True)

gymnasium.register("Mixed-v0", sys.modules["old_envs"].OldLine)
deeper = EnvironmentSpec(line.id, {"depth": 1}, "old_envs")
for spec in (EnvironmentSpec("gym:Nope-v1"), deeper, EnvironmentSpec("Mixed-v0")):
    try:
        make_env(spec)
    except Exception as error:
        print(type(error).__name__, error)
"""

LIVE = """
import polserve
from polserve.training.play import Player, play_on_service

options = {"evaluation_episodes": 4, "selection_episodes": 2}
version = polserve.train("gym:CartPole-v1", algo="dqn", steps=300, options=options, folder="run", progress=False)
assert version.spec.environment.id == "gym:CartPole-v1"
assert [version.register(), version.register()] == ["1", "2"]
print("evaluated", polserve.evaluate("cartpole-v1", episodes=4, progress=False).environment)
polserve.promote("cartpole-v1/2", rule="not-worse", margin=1.0, episodes=30, processes=1, progress=False)
print("champion", polserve.evaluate("cartpole-v1", episodes=2, progress=False).policy)
with polserve.testing.service(version.path.parents[1]) as target, polserve.PolicyClient(target) as client:
    (episode,) = play_on_service(Player(client, "cartpole-v1"), 1)
    assert episode.episode_return == episode.length
    print("played", len(episode.versions))
"""


def run(python: Path, folder: Path, *arguments: str) -> str:
    """Run a program of ours by the interpreter in a folder; return what it printed."""
    variables = {**environment(), "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [str(python), *arguments], check=False, capture_output=True, text=True, cwd=folder, env=variables
    )
    assert result.returncode == 0, f"{result.stdout[-1000:]}{result.stderr[-3000:]}"
    return result.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has the last release of gym."""
    return install_packages(tmp_path_factory.mktemp("gym") / "environment", "gym==0.26.2")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a module that registers environments of the API before 0.26."""
    (tmp_path / "old_envs.py").write_text(MODULE)
    return tmp_path


def check_looks(python: Path, folder: Path) -> None:
    printed = run(python, folder, "-c", LOOK)
    assert "CartPole-v1 (4,) Discrete(2)" in printed
    assert "Pendulum-v1 (3,) Box(-2.0, 2.0, (1,), float32) 200" in printed
    assert "OldLine-v0 (2,) Discrete(2) 20" in printed
    assert "UnknownEnvironment no environment 'Nope-v1' is registered with gym 0." in printed
    assert "UnsupportedEnvironment Mixed-v0 cannot be made: Gym is incompatible with Gymnasium" in printed
    assert "or register it with gym and give --env gym:ID" in printed
    assert """InvalidOption gym:OldLine-v0 does not take the arguments {"depth": 1}""" in printed


def test_environments_of_gym_and_of_its_older_api_keep_to_gymnasiums(python: Path, folder: Path) -> None:
    check_looks(python, folder)


def test_so_do_those_of_a_release_before_the_new_api(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> None:
    where = tmp_path_factory.mktemp("gym") / "environment"
    tools = ("pip==24.0", "setuptools==65.5.0", "wheel==0.38.4")
    check_looks(install_packages(where, "gym==0.21.0", built_with=tools), folder)


def test_a_policy_for_one_is_trained_evaluated_promoted_and_played(python: Path, folder: Path) -> None:
    printed = run(python, folder, "-c", LIVE)
    assert printed.splitlines() == ["evaluated gym:CartPole-v1", "champion cartpole-v1/2", "played 1"]


def test_without_gym_its_environments_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gym", None)  # as where it is not installed
    with pytest.raises(UnknownEnvironment, match=r"gym is not installed: pip install 'polserve\[training,gym\]'"):
        make_env(EnvironmentSpec("gym:CartPole-v1"))


@pytest.mark.parametrize(
    ("given", "environment_id", "module"),
    [
        ("gym:CartPole-v1", "gym:CartPole-v1", ""),
        ("gym:my_envs:Mine-v0", "gym:Mine-v0", "my_envs"),
        ("my_envs:Mine-v0", "Mine-v0", "my_envs"),
    ],
)
def test_the_prefix_is_a_part_of_the_id_and_no_module(given: str, environment_id: str, module: str) -> None:
    recipe = TrainRequest(given, algo="dqn").recipe()
    assert (recipe.environment.id, recipe.environment.module) == (environment_id, module)
    assert recipe.policy == environment_id.removeprefix("gym:").lower()
