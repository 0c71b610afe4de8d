"""Learning to play from frames: our learner beside stable-baselines3's, and our environments beside ale-py's bare ones.

Both learners make updates of DQN on the same network, with batches of the same size, drawn from a memory filled with
the same random screens; both environments play the same game by the same rules. The two sides take turns.
"""

import time
from dataclasses import replace
from statistics import median

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from stable_baselines3 import DQN
from stable_baselines3.common.logger import Logger

from benchmarks.tables import finish, options, show
from polserve.training.environments.making import EnvironmentSpec, VecEnv, make_vec
from polserve.training.learning.agents.actor import ValueActor
from polserve.training.learning.agents.dqn import DqnAgent
from polserve.training.learning.agents.exploration import Exploration
from polserve.training.learning.compute import choose
from polserve.training.learning.hyperparameters import DqnConfig, ExplorationConfig, NetworkConfig, ReplayConfig
from polserve.training.learning.networks import ValueNetwork
from polserve.training.learning.replay import Replay
from polserve.training.learning.transitions import VectorStep
from polserve.training.learning.updates import ReplayLearner
from polserve.training.runs.presets import MS_PACMAN
from polserve.training.tasks.atari.vector import AS_GYMNASIUM_MAKES_IT, make_screens

SHAPE = (4, 88, 80)
ACTIONS = 9
FILLED = 2_000
N_ENVS = 64
TURNS = 5
"""Turns of the environments in a round: short ones, so that what else the machine does meets both sides alike."""


class Ours:
    """Our DQN on the network of Mnih et al. 2015, as stable-baselines3's is: one step, no double Q-learning."""

    def __init__(self, batch_size: int, *, is_mixed: bool) -> None:
        config = NetworkConfig(hidden_sizes=(512,), mixed_precision=is_mixed)
        actor = ValueActor(ValueNetwork(config, SHAPE, ACTIONS), choose("cpu"))
        agent_config = DqnConfig(batch_size=batch_size, double=False, max_grad_norm=10.0, target_period=10_000)
        agent = DqnAgent(agent_config, actor, Exploration(ExplorationConfig(), ACTIONS))
        replay = Replay(FILLED + 8, 1, np.zeros(SHAPE, np.uint8), np.zeros((), np.int64), stack=SHAPE[0])
        rng = np.random.default_rng(0)
        for _ in range(FILLED):
            replay.add(_step(rng))
        self._learner = ReplayLearner(agent, replay, ReplayConfig(learning_starts=1, updates_per_vector_step=1))
        self._rng = rng
        self._next = _step(rng)

    def update(self, n: int) -> None:
        """Make `n` updates."""
        for _ in range(n):
            self._learner.observe(self._next, self._rng)


def _step(rng: np.random.Generator) -> VectorStep:
    return VectorStep(
        observation_tm1=rng.integers(0, 256, (1, *SHAPE), np.uint8),
        action_tm1=rng.integers(ACTIONS, size=1),
        reward_t=np.ones(1, np.float32),
        is_terminated=np.zeros(1, np.bool_),
        is_over=np.zeros(1, np.bool_),
        is_real=np.ones(1, np.bool_),
    )


class Still(gym.Env[np.ndarray, np.int64]):
    """An environment that is only there for its spaces."""

    observation_space = Box(0, 255, SHAPE, np.uint8)
    action_space = Discrete(ACTIONS)


class Theirs:
    """stable-baselines3's DQN with its convolutional policy."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._model = DQN("CnnPolicy", Still(), batch_size=batch_size, buffer_size=FILLED, device="cpu")
        self._model.set_logger(Logger(None, []))
        rng = np.random.default_rng(0)
        buffer = self._model.replay_buffer
        assert buffer is not None  # noqa: S101 - for the type checker
        for _ in range(FILLED):
            observation, following = rng.integers(0, 256, (2, 1, *SHAPE), np.uint8)
            buffer.add(observation, following, rng.integers(ACTIONS, size=1), np.ones(1), np.zeros(1), [{}])

    def update(self, n: int) -> None:
        """Make `n` updates."""
        self._model.train(gradient_steps=n, batch_size=self._batch_size)


def samples_per_s(side: Ours | Theirs, batch_size: int, n: int) -> float:
    """Transitions learned from per second."""
    side.update(2)
    started = time.perf_counter()
    side.update(n)
    return n * batch_size / (time.perf_counter() - started)


def steps_per_s(envs: VecEnv, n: int, rng: np.random.Generator) -> float:
    """Rate of steps per second under random actions."""
    actions = rng.integers(ACTIONS, size=(n, envs.num_envs))
    started = time.perf_counter()
    for action in actions:
        envs.step(action)
    return n * envs.num_envs / (time.perf_counter() - started)


def main() -> None:
    """Compare the learners and the environments."""
    parser = options((__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="turns of each side, of which the median is taken")
    arguments = parser.parse_args()
    rounds, updates, steps = (1, 8, 25) if arguments.quick else (arguments.rounds, 60, 100)
    rows, figures = [], {}
    for batch_size in (32, 64):
        sides: dict[str, Ours | Theirs] = {
            "float32": Ours(batch_size, is_mixed=False),
            "bfloat16": Ours(batch_size, is_mixed=True),
            "stable-baselines3": Theirs(batch_size),
        }
        rates: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(rounds):
            for name, side in sides.items():
                rates[name].append(samples_per_s(side, batch_size, updates))
        theirs = median(rates["stable-baselines3"])
        for name in ("float32", "bfloat16"):
            ours = median(rates[name])
            figures[f"learner_{name}_{batch_size}"] = ours / theirs
            title = f"learner, batches of {batch_size}, {name}, samples/s, to stable-baselines3"
            rows.append((title, f"{ours:,.0f}", f"{theirs:,.0f}", f"{ours / theirs:.2f}", ">= 1.5"))
    rng = np.random.default_rng(0)
    bare_spec = replace(MS_PACMAN, kwargs=AS_GYMNASIUM_MAKES_IT, frames=0)
    games, bare = make_screens(MS_PACMAN, N_ENVS), make_vec(EnvironmentSpec(bare_spec.id, bare_spec.kwargs), N_ENVS)
    for envs in (games, bare):
        envs.reset(seed=0)
    n = steps // TURNS
    turns = [(steps_per_s(games, n, rng), steps_per_s(bare, n, rng)) for _ in range(TURNS * rounds)]
    ours, theirs = (median(side) for side in zip(*turns, strict=True))
    figures["environment"] = ours / theirs
    title = f"{N_ENVS} games as grey screens, steps/s, to ale-py's bare vector environment"
    rows.append((title, f"{ours:,.0f}", f"{theirs:,.0f}", f"{ours / theirs:.2f}", ">= 0.8"))
    show(
        f"Ms. Pac-Man on {torch.get_num_threads()} threads, medians of {rounds}",
        ("what", "ours", "theirs", "ratio", "asked"),
        rows,
    )
    finish(figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
