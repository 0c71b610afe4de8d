"""Recipes of algorithms where nothing is known of the environment but what it shows."""

import dataclasses
from collections.abc import Mapping
from typing import Literal, get_args

from polserve.training.environments.making import EnvironmentSpec
from polserve.training.errors import require
from polserve.training.learning.actor_critic_hyperparameters import DdpgConfig, SacConfig
from polserve.training.learning.hyperparameters import (
    DqnConfig,
    ExplorationConfig,
    LoopConfig,
    NetworkConfig,
    PqnConfig,
    ReplayConfig,
    RewardConfig,
)
from polserve.training.runs.presets import DDPG, PRESETS, TD3
from polserve.training.runs.recipe import Recipe
from polserve.training.tasks.atari.task import emits_colour_frames

Algorithm = Literal["dqn", "pqn", "ddpg", "td3", "sac"]
"""What can be trained."""
CONTINUOUS: Mapping[str, DdpgConfig | SacConfig] = {"ddpg": DDPG, "td3": TD3, "sac": SacConfig()}
"""Agents of continuous actions, by algorithm, as they are where nothing is known of the environment."""
PQN = PqnConfig(learning_rate=1e-3, learning_rate_end=1e-3, epochs=8, batch_size=32, trace_decay=0.9)
"""PQN where nothing is known of the environment: an update for four steps; its authors make one for 128 of Atari's."""
DQN = DqnConfig(n_step=3, target_tau=0.1, loss="squared", max_grad_norm=10.0)
"""DQN where nothing is known of the environment: within 25,000 steps values reach back over hundreds of steps; those of
`DqnConfig()`, whose target network moves by a hundredth in 16 steps, over some fifteen. Its loss learns mean
returns. Huber's learns something nearer the median where errors are above 1: by that a return of 100 in one game of ten
is worth 0.1, less than a sure 1. Without the bound of gradients, the squared error learned no LunarLander."""
REPEATING = ExplorationConfig(repeat_exponent=2.0, repeat_share=0.5, waits_for_signal=True)
"""Exploration where nothing is known: single random actions never get a car out of a valley, repeated ones do, but
hardly ever land on the moon or cross a frozen lake."""
ARCADE = {"dqn": "mspacman", "pqn": "mspacman-pqn"}
"""Preset whose settings an algorithm has for any other Atari game, too."""


def recipe_for(algorithm: Algorithm, environment: EnvironmentSpec, policy: str) -> Recipe:
    """Make the recipe of an algorithm with its own defaults, for an environment without a preset.

    An Atari game gets screens, stack, convolutions and most settings of the Ms. Pac-Man preset.

    Raises:
        InvalidOption: there is no such algorithm.
    """
    require(algorithm in get_args(Algorithm), "algo", " or ".join(get_args(Algorithm)), algorithm)
    if algorithm in ARCADE and emits_colour_frames(environment):
        return arcade_recipe(PRESETS[ARCADE[algorithm]], environment, policy)
    return defaults_of(algorithm, environment, policy)


def arcade_recipe(preset: Recipe, environment: EnvironmentSpec, policy: str) -> Recipe:
    """Make the recipe of an Atari game from a preset of Ms. Pac-Man's, less what suits that game's scores only.

    Rewards are clipped, as is usual: a point of Pong's would be a tenth of a pellet's root, too little to learn from.
    """
    agent = preset.agent
    if isinstance(agent, DqnConfig):
        agent = dataclasses.replace(agent, kappa=None, adam_epsilon=1e-5)  # as small as Pong's values and gradients
    if isinstance(agent, PqnConfig):  # four times as many updates, of a quarter of the steps each
        agent = dataclasses.replace(agent, batch_size=64, learning_rate_updates=240_000)
    return dataclasses.replace(
        preset,
        policy=policy,
        environment=dataclasses.replace(environment, frames=preset.environment.frames),
        agent=agent,
        rewards=RewardConfig(reward_treatment="clip"),
    )


def defaults_of(algorithm: Algorithm, environment: EnvironmentSpec, policy: str) -> Recipe:
    """Make the recipe of an algorithm for an environment of which nothing is known."""
    recipe = Recipe(
        policy,
        environment,
        network=NetworkConfig(standardise=True),
        agent=DQN,
        exploration=dataclasses.replace(REPEATING, epsilon_steps=20_000),
        replay=ReplayConfig(updates_per_vector_step=LoopConfig().n_envs),  # an update for each step
        rewards=RewardConfig(scale_by_returns="auto"),
    )
    if algorithm == "pqn":  # which needs the normalisation in place of a target network
        network = NetworkConfig(layer_norm=True, standardise=True)
        return dataclasses.replace(recipe, agent=PQN, network=network, exploration=REPEATING)
    if algorithm in CONTINUOUS:
        return dataclasses.replace(
            recipe,
            loop=LoopConfig(n_envs=4),
            replay=ReplayConfig(updates_per_vector_step=4),
            agent=CONTINUOUS[algorithm],
            network=NetworkConfig(hidden_sizes=(256, 256), standardise=True),
            rewards=RewardConfig(scale_by_returns=True),
        )
    return recipe
