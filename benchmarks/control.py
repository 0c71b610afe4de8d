"""Control problems: time to a solved policy, ours beside stable-baselines3's DQN, both on one thread of this machine.

Ours trains by its preset, until the return of its selection episodes is reached. Stable-baselines3 runs the settings
that RL Zoo publishes (hyperparams/dqn.yml) in two ways: for their number of steps, without any evaluation in between,
as they are meant; and stopped as ours is, by as many evaluations, with the best network kept. The policies of a seed
then play the same 100 episodes, which are that seed's own, and which none trained on.
"""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import mean, median
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import EvalCallback, StopTrainingOnRewardThreshold

from benchmarks.tables import finish, options, show
from polserve.training.environments.making import EnvironmentSpec
from polserve.training.evaluation.episodes import play_episodes
from polserve.training.learning.collector import ChooseActions
from polserve.training.learning.streams import Streams
from polserve.training.runs.presets import PRESETS
from polserve.training.runs.recipe import Recipe
from polserve.training.runs.trainee import build_trainee

ZOO_CARTPOLE: Mapping[str, Any] = {
    "learning_rate": 2.3e-3,
    "batch_size": 64,
    "buffer_size": 100_000,
    "gamma": 0.99,
    "target_update_interval": 10,
    "train_freq": 256,
    "gradient_steps": 128,
    "exploration_fraction": 0.16,
    "exploration_final_eps": 0.04,
    "learning_starts": 1_000,
    "policy_kwargs": {"net_arch": [256, 256]},
}
ZOO_MOUNTAINCAR: Mapping[str, Any] = {
    "learning_rate": 4e-3,
    "batch_size": 128,
    "buffer_size": 10_000,
    "gamma": 0.98,
    "target_update_interval": 600,
    "train_freq": 16,
    "gradient_steps": 8,
    "exploration_fraction": 0.2,
    "exploration_final_eps": 0.07,
    "learning_starts": 1_000,
    "policy_kwargs": {"net_arch": [256, 256]},
}


AS_PUBLISHED, STOPPED = "stable-baselines3", "stable-baselines3, stopped as ours"
"""The two ways of the baseline."""


@dataclass(frozen=True)
class Problem:
    """An environment, our recipe for it and the RL Zoo's, and the return at which Gymnasium calls it solved."""

    recipe: Recipe
    solved: float
    zoo: Mapping[str, Any]
    zoo_steps: int


def in_environment(recipe: Recipe, environment_id: str, stop_return: float) -> Recipe:
    """Recipe in another environment."""
    loop = replace(recipe.loop, stop_return=stop_return)
    return replace(recipe, environment=EnvironmentSpec(environment_id), loop=loop)


PROBLEMS = {
    "cartpole": Problem(PRESETS["cartpole"], 475.0, ZOO_CARTPOLE, 50_000),
    "cartpole-v0": Problem(in_environment(PRESETS["cartpole"], "CartPole-v0", 200.0), 195.0, ZOO_CARTPOLE, 50_000),
    "mountaincar": Problem(PRESETS["mountaincar"], -110.0, ZOO_MOUNTAINCAR, 120_000),
}


@dataclass(frozen=True)
class Run:
    """One training run of either side."""

    side: str
    seed: int
    steps: int
    wall_s: float
    mean_return: float


def ours(problem: Problem, seed: int, steps: int) -> Run:
    """Train by the preset."""
    recipe = replace(problem.recipe, loop=replace(problem.recipe.loop, steps=steps))
    started = time.perf_counter()
    trainee = build_trainee(recipe, seed, "cpu")
    result = trainee.train()
    wall_s = time.perf_counter() - started
    trainee.close()
    trainee.agent.load_weights(result.weights)
    return Run("polserve", seed, result.step, wall_s, evaluate(problem, trainee.agent.greedy, seed))


def stable_baselines3(problem: Problem, seed: int, steps: int, side: str) -> Run:
    """Train with the RL Zoo's settings."""
    started = time.perf_counter()
    model = zoo_model(problem, seed)
    if side == AS_PUBLISHED:
        model.learn(steps)
    else:
        model = learn_until_solved(problem, model, steps)
    wall_s = time.perf_counter() - started

    def greedy(observations: NDArray[np.float32]) -> NDArray[np.int64]:
        actions: NDArray[np.int64] = model.predict(observations, deterministic=True)[0]
        return actions

    return Run(side, seed, model.num_timesteps, wall_s, evaluate(problem, greedy, seed))


def learn_until_solved(problem: Problem, model: DQN, steps: int) -> DQN:
    """Train until evaluations like those of our preset reach its return; return the best network."""
    loop = problem.recipe.loop
    assert loop.stop_return is not None  # noqa: S101 - for the type checker
    with tempfile.TemporaryDirectory() as folder:
        callback = EvalCallback(
            gym.make(problem.recipe.environment.id),
            callback_on_new_best=StopTrainingOnRewardThreshold(loop.stop_return, verbose=0),
            n_eval_episodes=loop.selection_episodes,
            eval_freq=loop.evaluate_every,
            best_model_save_path=folder,
            verbose=0,
            warn=False,
        )
        model.learn(steps, callback=callback)
        taken, model = model.num_timesteps, DQN.load(f"{folder}/best_model", device="cpu")
    model.num_timesteps = taken
    return model


def zoo_model(problem: Problem, seed: int) -> DQN:
    """Make a network and its learner by the RL Zoo's settings."""
    return DQN(
        "MlpPolicy",
        gym.make(problem.recipe.environment.id),
        **problem.zoo,
        seed=seed,
        device="cpu",
    )


def evaluate(problem: Problem, choose_actions: ChooseActions, seed: int) -> float:
    """Mean return over the 100 episodes that evaluate runs of a seed."""
    first_seed = Streams(seed).first_evaluation_seed
    episodes = play_episodes(choose_actions, problem.recipe.environment, 100, first_seed)
    return mean(episode.episode_return for episode in episodes)


def main() -> None:
    """Run both sides in turns and print the table."""
    parser = options(__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("problem", nargs="?", default="cartpole", choices=PROBLEMS, help="what to solve")
    parser.add_argument("--seeds", type=int, default=10, help="runs of ours")
    parser.add_argument("--peer-seeds", type=int, default=3, help="runs of stable-baselines3")
    arguments = parser.parse_args()
    problem = PROBLEMS[arguments.problem]
    seeds, peer_seeds = (2, 1) if arguments.quick else (arguments.seeds, arguments.peer_seeds)
    steps, peer_steps = (40_000, 10_000) if arguments.quick else (problem.recipe.loop.steps, problem.zoo_steps)
    torch.set_num_threads(1)
    runs: list[Run] = []
    for seed in range(max(seeds, peer_seeds)):
        runs += [ours(problem, seed, steps)] if seed < seeds else []
        ways = (AS_PUBLISHED, STOPPED) if seed < peer_seeds else ()
        runs += [stable_baselines3(problem, seed, peer_steps, way) for way in ways]
    runs.sort(key=lambda run: (run.side, run.seed))
    show(
        f"{problem.recipe.environment.id}: 100 greedy episodes after training",
        ("side", "seed", "environment steps", "wall time", "mean return"),
        [(r.side, str(r.seed), f"{r.steps:,}", f"{r.wall_s:.1f} s", f"{r.mean_return:.1f}") for r in runs],
    )
    mine = [run for run in runs if run.side == "polserve"]
    theirs, stopped = ([run for run in runs if run.side == way] for way in (AS_PUBLISHED, STOPPED))
    their_wall_s = median(run.wall_s for run in theirs) * problem.zoo_steps / peer_steps
    finish(
        {
            "seeds": len(mine),
            "seeds_reached": sum(run.mean_return >= problem.solved for run in mine),
            "median_wall_s": median(run.wall_s for run in mine),
            "max_wall_s": max(run.wall_s for run in mine),
            "worst_mean_return": min(run.mean_return for run in mine),
            "peer_wall_s": their_wall_s,
            "peer_mean_return": mean(run.mean_return for run in theirs),
            "stopped_peer_wall_s": median(run.wall_s for run in stopped),
            "stopped_peer_steps": median(run.steps for run in stopped),
            "stopped_peer_worst_return": min(run.mean_return for run in stopped),
            "wall_ratio": median(run.wall_s for run in mine) / their_wall_s,
            "mean_wall_ratio": mean(run.wall_s for run in mine) / their_wall_s,
        },
        as_json=arguments.json,
    )


if __name__ == "__main__":
    main()
