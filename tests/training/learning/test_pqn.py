"""PQN: its targets by hand, and that it learns."""

import numpy as np
import pytest
import torch

from polserve.training.environments.making import EnvironmentSpec
from polserve.training.learning.agents.losses import q_lambda_target
from polserve.training.learning.agents.pqn import PqnAgent
from polserve.training.learning.hyperparameters import ExplorationConfig, LoopConfig, NetworkConfig, PqnConfig
from polserve.training.learning.transitions import Trajectories, VectorStep
from polserve.training.runs.recipe import Recipe
from polserve.training.runs.trainee import build_trainee

GAMMA, LAMBDA = 0.9, 0.5


def trajectories(
    *, terminated: tuple[int, ...] = (), over: tuple[int, ...] = (), resets: tuple[int, ...] = ()
) -> Trajectories:
    """Four steps of one environment with rewards 1, 2, 3 and 4."""
    steps = np.arange(4)[:, None]
    return Trajectories(
        observation=np.zeros((5, 1, 4), np.float32),
        action_tm1=np.zeros((4, 1), np.int64),
        reward_t=np.array([[1.0], [2.0], [3.0], [4.0]], np.float32),
        is_terminated=np.isin(steps, terminated),
        is_over=np.isin(steps, (*terminated, *over)),
        is_real=~np.isin(steps, resets),
    )


BEST = np.array([[10.0], [20.0], [30.0], [40.0]], np.float32)


def targets(steps: Trajectories) -> list[float]:
    return q_lambda_target(BEST, steps, GAMMA, LAMBDA)[:, 0].tolist()  # type: ignore[no-any-return]


def test_targets_mix_rewards_and_values_back_from_the_rollouts_end() -> None:
    last = 4 + GAMMA * 40
    third = 3 + GAMMA * (LAMBDA * last + (1 - LAMBDA) * 30)
    second = 2 + GAMMA * (LAMBDA * third + (1 - LAMBDA) * 20)
    first = 1 + GAMMA * (LAMBDA * second + (1 - LAMBDA) * 10)
    assert targets(trajectories()) == pytest.approx([first, second, third, last])


def test_nothing_follows_a_terminal_state() -> None:
    assert targets(trajectories(terminated=(1,), resets=(2,)))[1] == 2


def test_an_episode_that_was_cut_off_is_worth_its_last_value_and_nothing_of_the_next() -> None:
    assert targets(trajectories(over=(1,), resets=(2,)))[1] == pytest.approx(2 + GAMMA * 20)


def test_a_lost_life_ends_the_return_but_not_the_rollout() -> None:
    steps = trajectories()
    steps.is_terminated[1] = True
    found = targets(steps)
    assert found[1] == 2
    assert found[2] == targets(trajectories())[2]


def test_a_rollout_ends_where_its_last_step_led() -> None:
    steps = [
        VectorStep(
            observation_tm1=np.full((2, 4), t, np.float32),
            action_tm1=np.full(2, t),
            reward_t=np.full(2, t, np.float32),
            is_terminated=np.zeros(2, np.bool_),
            is_over=np.zeros(2, np.bool_),
            is_real=np.ones(2, np.bool_),
        )
        for t in range(4)
    ]
    made = Trajectories.of(steps)
    assert made.observation.shape == (4, 2, 4)
    assert made.action_tm1[:, 0].tolist() == [0, 1, 2]


def test_it_balances_a_pole_better_than_at_random() -> None:
    recipe = Recipe(
        policy="small",
        environment=EnvironmentSpec("CartPole-v1"),
        loop=LoopConfig(steps=30_000, n_envs=16, evaluate_every=5_000, selection_episodes=10, stop_return=100.0),
        network=NetworkConfig(hidden_sizes=(64, 64), layer_norm=True),
        agent=PqnConfig(learning_rate=2e-3, learning_rate_end=2e-3, batch_size=64, rollout_steps=32, epochs=4),
        exploration=ExplorationConfig(epsilon_steps=8_000),
    )
    trainee = build_trainee(recipe, 0)
    assert isinstance(trainee.agent, PqnAgent)
    result = trainee.train()
    assert result.best_score >= 100
    trainee.agent.load_weights(result.weights)
    state = trainee.agent.state()
    again = build_trainee(recipe, 1)
    again.agent.load_state(state)
    for name, tensor in again.agent.weights().items():
        assert torch.equal(tensor, result.weights[name])
