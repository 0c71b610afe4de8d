"""Files as stable-baselines3's own `model.save()` writes them, of networks with drawn weights.

`python -m tests.support.sb3_files`, where sb3-contrib is installed, writes the one of tests/fixtures.
"""

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete

IMAGE = Box(0, 255, (40, 36, 3), np.uint8)
NUMBERS = Box(-np.inf, np.inf, (5,), np.float32)
TORQUES = Box(np.array([-2.0, -1.0], np.float32), np.array([2.0, 0.5], np.float32))


class Still(gym.Env[Any, Any]):
    """An environment of any spaces in which nothing ever changes but what is drawn."""

    def __init__(
        self, observations: gym.Space[Any] = NUMBERS, actions: gym.Space[Any] = TORQUES, *, is_endless: bool = False
    ) -> None:
        self.observation_space, self.action_space = observations, actions
        self.end = 0.0 if is_endless else 0.1

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return (
            self.observation_space.sample(),
            float(np.sum(action)),
            False,
            bool(self.np_random.random() < self.end),
            {},
        )


@dataclass(frozen=True)
class Saved:
    """A policy that is to be saved: which algorithm, spaces and arguments."""

    algorithm: str
    """The class's name, of stable-baselines3 unless `package` says otherwise."""
    policy: str = "MlpPolicy"
    observations: gym.Space[Any] = field(default_factory=lambda: NUMBERS)
    actions: gym.Space[Any] = field(default_factory=lambda: TORQUES)
    policy_kwargs: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    package: str = "stable_baselines3"

    def save(self, path: Path) -> Any:
        """Save the policy with drawn weights, large enough to reach every bound; return the model."""
        kind = getattr(importlib.import_module(self.package), self.algorithm)
        buffer = {} if self.algorithm in {"PPO", "A2C", "TRPO", "RecurrentPPO"} else {"buffer_size": 10}
        env = Still(self.observations, self.actions)
        model = kind(self.policy, env, policy_kwargs=dict(self.policy_kwargs), device="cpu", **buffer, **self.more)
        draw = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weights in model.policy.parameters():
                spread = 1.5 / (weights.numel() / weights.shape[0]) ** 0.5 if weights.ndim > 1 else 0.05
                weights.copy_(torch.randn(weights.shape, generator=draw) * spread)
        model.save(path)
        return model


PARTS = Dict({"place": Discrete(5), "pose": NUMBERS, "lamps": MultiBinary(3), "gears": MultiDiscrete([2, 3])})

QR_DQN = Saved("QRDQN", actions=Discrete(4), policy_kwargs={"n_quantiles": 5, "net_arch": [8]}, package="sb3_contrib")
RECURRENT = Saved(
    "RecurrentPPO",
    "MlpLstmPolicy",
    actions=Discrete(4),
    policy_kwargs={"lstm_hidden_size": 6, "n_lstm_layers": 2, "net_arch": [8]},
    package="sb3_contrib",
)
RECURRENT_FIXTURE = Path(__file__).resolve().parents[1] / "fixtures" / "recurrent_ppo.zip"
"""A recurrent policy; beside it, as .npz, episodes of observations one after another, and what the library predicts."""
FIXTURE = Path(__file__).resolve().parents[1] / "fixtures" / "qrdqn.zip"
"""A policy of sb3-contrib; beside it, as .npz, observations and what the library predicts of them."""


def write_fixture() -> None:
    """Write the file of QR_DQN, and its predictions."""
    model = QR_DQN.save(FIXTURE)
    observations = np.random.default_rng(0).normal(size=(500, 5)).astype(np.float32)
    actions, _ = model.predict(observations, deterministic=True)
    np.savez_compressed(FIXTURE.with_suffix(".npz"), allow_pickle=False, observation=observations, action=actions)


def write_recurrent_fixture() -> None:
    """Write the file of RECURRENT, and its predictions: in the first episode, and in others that begin in between."""
    model = RECURRENT.save(RECURRENT_FIXTURE)
    observations = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
    starts = np.isin(np.arange(len(observations)), (0, 70, 110))
    state, actions = None, []
    for observation, is_start in zip(observations, starts, strict=True):
        begins = np.array([is_start])
        action, state = model.predict(observation, state=state, episode_start=begins, deterministic=True)
        actions.append(int(action))
    arrays = {"observation": observations, "is_start": starts, "action": np.array(actions)}
    np.savez_compressed(RECURRENT_FIXTURE.with_suffix(".npz"), allow_pickle=False, **arrays)


if __name__ == "__main__":
    write_fixture()
    write_recurrent_fixture()
