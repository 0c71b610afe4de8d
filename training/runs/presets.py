"""The presets: recipes for the environments that polserve knows."""

import dataclasses
from collections.abc import Mapping

from polserve.training.environments.making import EnvironmentSpec
from polserve.training.learning.actor_critic_hyperparameters import DdpgConfig
from polserve.training.learning.hyperparameters import (
    DqnConfig,
    ExplorationConfig,
    LoopConfig,
    NetworkConfig,
    PqnConfig,
    ReplayConfig,
    RewardConfig,
)
from polserve.training.runs.recipe import Recipe
from polserve.training.tasks.adbudget.environment import ALLOCATION_ID
from polserve.training.tasks.atari.task import ATARI
from polserve.training.tasks.mspacman_maze.task import MAZE

MS_PACMAN = EnvironmentSpec("ALE/MsPacman-v5", frames=4)
ARCADE_LOOP = LoopConfig(
    steps=8_000_000,
    n_envs=64,
    life_loss_is_terminal=True,
    evaluate_every=200_000,
    selection_episodes=32,
    log_every=10_000,
    checkpoint_every_s=300.0,
)
ARCADE_EXPLORATION = ExplorationConfig(epsilon_end=0.01, epsilon_steps=300_000)
ROOT = RewardConfig(reward_treatment="root", reward_scale=0.1)
QUANTILES = NetworkConfig(hidden_sizes=(512,), dueling=True, quantiles=51, mixed_precision=True)
QR_DQN = DqnConfig(
    learning_rate=1e-4,
    learning_rate_end=5e-5,
    learning_rate_updates=100_000,
    adam_epsilon=1e-4,
    batch_size=64,
    discount=0.99,
    n_step=3,
    kappa=1.0,
    max_grad_norm=10.0,
    target_tau=0.01,
    acts_by_target=True,
)
SCREENS_REPLAY = ReplayConfig(
    replay_capacity=800_000, learning_starts=50_000, updates_per_vector_step=4, checkpoint_replay=False
)

DDPG = DdpgConfig(
    actor_learning_rate=1e-3,
    batch_size=256,
    target_tau=0.005,
    noise_start=0.1,
    noise_end=0.1,
    noise_memory=64,
    random_steps=5_000,
)
TD3 = dataclasses.replace(DDPG, twin_critics=True, policy_delay=2, target_noise=0.2, acts_by_target=True)

PRESETS: Mapping[str, Recipe] = {
    # Found by a random search; what mattered: a high learning rate that falls, a long horizon, and enough exploration
    # left for the rare states near the track's ends. `python -m benchmarks.control` shows what it reaches.
    "cartpole": Recipe(
        policy="cartpole",
        environment=EnvironmentSpec("CartPole-v1"),
        loop=LoopConfig(
            steps=200_000,
            n_envs=16,
            evaluate_every=2_000,
            selection_episodes=100,
            selection_share=1.0,
            stop_return=500.0,
        ),
        replay=ReplayConfig(updates_per_vector_step=4),
        agent=DqnConfig(
            learning_rate=3e-3,
            learning_rate_end=5e-4,
            learning_rate_updates=12_000,
            batch_size=64,
            discount=0.995,
            target_tau=0.08,
        ),
        exploration=ExplorationConfig(epsilon_end=0.15, epsilon_steps=5_000),
    ),
    # Single random steps never reach the goal; repeated ones do. `python -m benchmarks.control mountaincar` shows what
    # it reaches.
    "mountaincar": Recipe(
        policy="mountaincar",
        environment=EnvironmentSpec("MountainCar-v0"),
        loop=LoopConfig(
            steps=250_000,
            n_envs=16,
            evaluate_every=4_000,
            selection_episodes=100,
            selection_share=1.0,
            stop_return=-102.0,
        ),
        network=NetworkConfig(hidden_sizes=(256, 256)),
        replay=ReplayConfig(replay_capacity=50_000, updates_per_vector_step=8),
        agent=DqnConfig(
            learning_rate=1e-3,
            learning_rate_end=1e-4,
            learning_rate_updates=80_000,
            batch_size=128,
            discount=0.98,
            n_step=3,
            target_tau=0.02,
            acts_by_target=True,
        ),
        exploration=ExplorationConfig(epsilon_end=0.1, epsilon_steps=40_000, repeat_exponent=2.0),
    ),
    "mspacman": Recipe(
        policy="mspacman",
        environment=MS_PACMAN,
        loop=ARCADE_LOOP,
        network=QUANTILES,
        agent=QR_DQN,
        exploration=ARCADE_EXPLORATION,
        replay=SCREENS_REPLAY,
        rewards=ROOT,
        chosen_task=ATARI,
        threads=0,
    ),
    # Goes on from a policy that learned from roots, which make ghosts cheap, for the score itself: docs/adr/0007.
    "mspacman-score": Recipe(
        policy="mspacman-score",
        environment=MS_PACMAN,
        loop=dataclasses.replace(ARCADE_LOOP, evaluate_every=150_000, selection_episodes=64),
        network=QUANTILES,
        agent=dataclasses.replace(QR_DQN, learning_rate_updates=120_000),
        exploration=ExplorationConfig(epsilon_start=0.1, epsilon_end=0.01, epsilon_steps=50_000),
        replay=dataclasses.replace(SCREENS_REPLAY, replay_capacity=600_000),
        rewards=RewardConfig(reward_scale=0.01),
        chosen_task=ATARI,
        threads=0,
    ),
    # Perception written by hand for this one game, learning on top: docs/ms-pacman.md.
    "mspacman-maze": Recipe(
        policy="mspacman-maze",
        environment=MS_PACMAN,
        loop=dataclasses.replace(ARCADE_LOOP, steps=3_000_000, evaluate_every=500_000, selection_episodes=64),
        network=NetworkConfig(hidden_sizes=(256, 256), layer_norm=True, quantiles=51),
        agent=dataclasses.replace(
            QR_DQN,
            learning_rate=3e-4,
            learning_rate_end=5e-5,
            learning_rate_updates=90_000,
            adam_epsilon=1e-8,
            batch_size=128,
            discount=0.995,
        ),
        exploration=ExplorationConfig(epsilon_end=0.01, epsilon_steps=60_000),
        replay=ReplayConfig(
            replay_capacity=1_000_000, learning_starts=5_000, updates_per_vector_step=2, checkpoint_replay=False
        ),
        rewards=RewardConfig(reward_scale=0.01),
        chosen_task=MAZE,
        threads=1,
    ),
    # Neither replay nor target network (Gallici et al. 2024).
    "mspacman-pqn": Recipe(
        policy="mspacman-pqn",
        environment=MS_PACMAN,
        loop=dataclasses.replace(ARCADE_LOOP, n_envs=32),
        network=NetworkConfig(hidden_sizes=(512,), layer_norm=True, mixed_precision=True),
        agent=PqnConfig(learning_rate_updates=60_000),
        exploration=ARCADE_EXPLORATION,
        rewards=ROOT,
        chosen_task=ATARI,
        threads=0,
    ),
    # TD3. What helped most is that rewards are relative to a forecast (training/tasks/adbudget/relative.py).
    "adbudget": Recipe(
        policy="adbudget",
        environment=EnvironmentSpec(ALLOCATION_ID, {"n_channels": 2}),
        loop=LoopConfig(
            steps=200_000,
            n_envs=64,
            evaluate_every=20_000,
            selection_episodes=200,
            evaluation_episodes=200,
            log_every=10_000,
        ),
        network=NetworkConfig(hidden_sizes=(256, 256), layer_norm=True),
        agent=DdpgConfig(
            actor_learning_rate=3e-4,
            learning_rate_end=0.05,
            learning_rate_updates=12_500,
            batch_size=512,
            discount=1.0,
            target_tau=0.005,
            noise_start=0.25,
            noise_end=0.05,
            noise_steps=150_000,
            twin_critics=True,
            policy_delay=2,
            target_noise=0.05,
            target_noise_clip=0.15,
            acts_by_target=True,
        ),
        replay=ReplayConfig(replay_capacity=200_000, learning_starts=5_000),
    ),
    "pendulum": Recipe(
        policy="pendulum",
        environment=EnvironmentSpec("Pendulum-v1"),
        loop=LoopConfig(steps=30_000, n_envs=4, evaluate_every=4_000, selection_episodes=100, selection_share=1.0),
        network=NetworkConfig(hidden_sizes=(256, 256)),
        agent=dataclasses.replace(TD3, discount=0.98, noise_memory=1, random_steps=1_000),
    ),
    # A tutorial's settings, with its slips mended: docs/ms-pacman.md lists them.
    "mspacman-guide": Recipe(
        policy="mspacman-guide",
        environment=EnvironmentSpec("MsPacman-v0", frames=4),
        loop=dataclasses.replace(ARCADE_LOOP, n_envs=1, evaluation_envs=100, life_loss_is_terminal=False),
        network=NetworkConfig(hidden_sizes=(512,), padding="same", pixels="guide"),
        agent=DqnConfig(
            batch_size=8,
            discount=0.9,
            double=False,
            target_tau=1.0,
            target_period=1_000,
        ),
        exploration=ExplorationConfig(epsilon_end=0.05, epsilon_steps=50_000),
        replay=ReplayConfig(
            replay_capacity=5_000, learning_starts=1_000, updates_per_vector_step=1, checkpoint_replay=False
        ),
        chosen_task=ATARI,
        threads=0,
    ),
}
