"""Learners of the comparison: ours, and stable-baselines3's by its own defaults and by the RL Zoo's settings.

Each learns for the same number of environment steps, and keeps the best network of as many greedy evaluations.
"""

import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from statistics import mean
from typing import Any, get_args

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3 import DDPG, DQN, SAC, TD3
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv

from benchmarks.algorithms.problems import PROBLEMS, Units
from benchmarks.algorithms.results import Plan, Result
from benchmarks.control import ZOO_CARTPOLE, ZOO_MOUNTAINCAR
from polserve.training.environments.making import EnvironmentSpec
from polserve.training.evaluation.episodes import play_episodes
from polserve.training.learning.collector import ChooseActions
from polserve.training.learning.hyperparameters import LoopConfig
from polserve.training.learning.streams import Streams
from polserve.training.runs.defaults import Algorithm, recipe_for
from polserve.training.runs.recipe import with_options
from polserve.training.runs.trainee import build_trainee

GAMES = 100
"""Greedy games after training, which neither training nor selection has seen."""
EVALUATIONS = LoopConfig()
"""How often both sides evaluate, and by how many games: our default."""
_ACROBOT = {
    "learning_rate": 6.3e-4,
    "batch_size": 128,
    "buffer_size": 50_000,
    "learning_starts": 0,
    "target_update_interval": 250,
    "train_freq": 4,
    "gradient_steps": -1,
    "exploration_fraction": 0.12,
    "exploration_final_eps": 0.1,
    "policy_kwargs": {"net_arch": [256, 256]},
}
ZOO: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("dqn", "CartPole-v1"): ZOO_CARTPOLE,
    ("dqn", "MountainCar-v0"): ZOO_MOUNTAINCAR,
    ("dqn", "Acrobot-v1"): _ACROBOT,
    ("dqn", "LunarLander-v3"): _ACROBOT,
    ("td3", "Pendulum-v1"): {
        "gamma": 0.98,
        "buffer_size": 200_000,
        "learning_starts": 10_000,
        "action_noise": NormalActionNoise(np.zeros(1), np.full(1, 0.1)),
        "policy_kwargs": {"net_arch": [400, 300]},
    },
    ("sac", "Pendulum-v1"): {"learning_rate": 1e-3},
    ("sac", "MountainCarContinuous-v0"): {
        "buffer_size": 50_000,
        "batch_size": 512,
        "ent_coef": 0.1,
        "train_freq": 32,
        "gradient_steps": 32,
        "gamma": 0.9999,
        "tau": 0.01,
        "learning_starts": 0,
        "use_sde": True,
        "policy_kwargs": {"log_std_init": -3.67, "net_arch": [64, 64]},
    },
}
"""Settings of the RL Zoo (hyperparams/dqn.yml, td3.yml and sac.yml), by algorithm and problem, where it tunes for few
steps."""
SIDES = {
    "polserve": "polserve",
    "sb3": "stable-baselines3",
    "zoo": "stable-baselines3 by the RL Zoo",
}
"""Sides of the comparison, and their titles."""
CLASSES: Mapping[str, type[Any]] = {"dqn": DQN, "ddpg": DDPG, "td3": TD3, "sac": SAC}


def settings_of(plan: Plan) -> Mapping[str, Any] | None:
    """Return what stable-baselines3 is given for a plan of its side; None where that side has no such learner."""
    if plan.algorithm not in CLASSES:
        return None
    return {} if plan.side == "sb3" else ZOO.get((plan.algorithm, plan.problem))


def run(plan: Plan) -> Result:
    """Train by a plan, and play the games that evaluate runs of its seed."""
    problem = PROBLEMS[plan.problem]
    units: Units = "moved" if plan.units == "moved" else "own"
    environment = problem.environment(units)
    started = time.process_time()
    train = _polserve if plan.side == "polserve" else _stable_baselines3
    choose_actions = train(plan, environment)
    cpu_s = time.process_time() - started
    games = play_episodes(choose_actions, environment, GAMES, Streams(plan.seed).first_evaluation_seed)
    return Result(plan, mean(game.episode_return for game in games), cpu_s)


def _polserve(plan: Plan, environment: EnvironmentSpec) -> ChooseActions:
    """Train with our defaults."""
    algorithm: Algorithm = next(name for name in get_args(Algorithm) if name == plan.algorithm)
    recipe = with_options(recipe_for(algorithm, environment, "compared"), [f"steps={plan.steps}"])
    trainee = build_trainee(recipe, plan.seed, "cpu")
    try:
        trainee.agent.load_weights(trainee.train().weights)
    finally:
        trainee.close()
    return trainee.agent.greedy


def _stable_baselines3(plan: Plan, environment: EnvironmentSpec) -> ChooseActions:
    """Train with its defaults or the Zoo's settings; keep the best network of our number of evaluations."""
    make = _maker(environment)
    model = CLASSES[plan.algorithm]("MlpPolicy", make(), seed=plan.seed, device="cpu", **(settings_of(plan) or {}))
    games = EVALUATIONS.selection_episodes
    envs = DummyVecEnv([make] * games)
    envs.seed(Streams(plan.seed).first_selection_seed)
    with tempfile.TemporaryDirectory() as folder:
        every = min(EVALUATIONS.evaluate_every, plan.steps)
        callback = EvalCallback(
            envs, n_eval_episodes=games, eval_freq=every, best_model_save_path=folder, verbose=0, warn=False
        )
        model.learn(plan.steps, callback=callback)
        best = CLASSES[plan.algorithm].load(f"{folder}/best_model", device="cpu")
    envs.close()

    def greedy(observations: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(best.predict(observations, deterministic=True)[0])

    return greedy


def _maker(environment: EnvironmentSpec) -> Callable[[], gym.Env[Any, Any]]:
    """Return what makes an environment, with its time limit."""
    return environment.maker or partial(gym.make, environment.id)
