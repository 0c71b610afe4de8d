"""Policies of stable-baselines3 and sb3-contrib for `benchmarks.imports`: each trained for a moment by the library."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

import benchmarks.catch  # noqa: F401 - registers Catch-v0
from benchmarks.imports import Prepared
from polserve.training.environments.making import EnvironmentSpec
from polserve.training.imports.sb3.importer import Sb3Options, read_sb3

CARTPOLE = EnvironmentSpec("CartPole-v1")
PENDULUM = EnvironmentSpec("Pendulum-v1")
CATCH = EnvironmentSpec("Catch-v0", module="benchmarks.catch")
CATCH_CONTINUOUS = EnvironmentSpec("Catch-v0", {"is_continuous": True}, "benchmarks.catch")
STEPS = {"MlpPolicy": 1_000, "CnnPolicy": 300}
QUICK_STEPS = {"MlpPolicy": 150, "CnnPolicy": 120}


@dataclass(frozen=True, slots=True)
class Trained:
    """A policy that the library trains."""

    algorithm: str
    policy: str
    environment: EnvironmentSpec
    package: str = "stable_baselines3"

    @property
    def name(self) -> str:
        """Name of the policy in the service."""
        return f"{self.algorithm}-{self.policy}-{self.environment.id}".lower()

    def prepare(self, folder: Path, *, is_quick: bool) -> Prepared:
        """Train it and save it in `folder`, with what plays it."""
        kind = getattr(import_module(self.package), self.algorithm)
        env = gym.make(self.environment.id, **self.environment.kwargs)
        is_off_policy = self.algorithm not in {"PPO", "A2C"}
        more: dict[str, Any] = {"buffer_size": 5_000, "learning_starts": 100, "batch_size": 32} if is_off_policy else {}
        model = kind(self.policy, env, seed=0, device="cpu", **more)
        model.learn((QUICK_STEPS if is_quick else STEPS)[self.policy])
        path = folder / f"{self.name}.zip"
        model.save(path)

        def act(observations: NDArray[Any]) -> NDArray[Any]:
            return np.asarray(model.predict(observations, deterministic=True)[0])

        network = "MLP" if self.policy == "MlpPolicy" else "CNN"
        read = partial(read_sb3, path, Sb3Options())
        tool = self.package.replace("_", "-")
        return Prepared(tool, self.algorithm, network, self.name, self.environment, read, act, path)


def policies() -> Iterator[Trained]:
    """Yield every algorithm with every kind of network."""
    for policy, discrete, continuous in (("MlpPolicy", CARTPOLE, PENDULUM), ("CnnPolicy", CATCH, CATCH_CONTINUOUS)):
        for algorithm in ("DQN", "PPO", "A2C"):
            yield Trained(algorithm, policy, discrete)
        yield Trained("QRDQN", policy, discrete, "sb3_contrib")
        for algorithm in ("DDPG", "TD3", "SAC"):
            yield Trained(algorithm, policy, continuous)
    yield Trained("PPO", "MlpPolicy", PENDULUM)
