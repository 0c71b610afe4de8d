"""No two runs share a random number, nor do two uses in one run, nor the parts of a run that was resumed."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from polserve.training.environments.making import EVALUATION_FIRST_SEED, SELECTION_FIRST_SEED, EnvironmentSpec
from polserve.training.learning.hyperparameters import DqnConfig, LoopConfig, NetworkConfig, ReplayConfig
from polserve.training.learning.streams import MOST_GAMES, EnvironmentSeeds, Streams, Use
from polserve.training.runs import checkpoint
from polserve.training.runs.recipe import Recipe
from polserve.training.runs.trainee import Trainee, build_trainee
from tests.support.strangers import registered

GENERATORS: tuple[Use, ...] = get_args(Use)
N_ENVS = 16


class Draws(gym.Env[NDArray[np.float32], Any]):
    """Observations that are its generator's own numbers; it knows the seeds that all of its kind were reset with."""

    reset_with: list[int] = []  # noqa: RUF012 - of all environments together
    observation_space = Box(0.0, 1.0, (4,), np.float32)
    action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Draw the first observation."""
        super().reset(seed=seed, options=options)
        if seed is not None:
            self.reset_with.append(seed)
        return self._drawn(), {}

    def step(self, _action: int) -> Any:
        """Draw the next."""
        return self._drawn(), 1.0, False, False, {}

    def _drawn(self) -> NDArray[np.float32]:
        return self.np_random.random(4).astype(np.float32)


@pytest.fixture
def draws() -> Iterator[EnvironmentSpec]:
    """The environment, and no seeds noted yet."""
    with registered(Draws, max_episode_steps=20) as spec:
        Draws.reset_with.clear()
        yield spec


def recipe(environment: EnvironmentSpec, n_envs: int = N_ENVS) -> Recipe:
    return Recipe(
        "draws",
        environment,
        LoopConfig(steps=320, n_envs=n_envs, evaluate_every=160, selection_episodes=3),
        network=NetworkConfig(hidden_sizes=(8,)),
        replay=ReplayConfig(learning_starts=64, updates_per_vector_step=1),
        agent=DqnConfig(batch_size=8),
    )


def seeds_of(trainee: Trainee) -> list[int]:
    """Seeds that the environments of a run were reset with last."""
    trainee.close()
    return Draws.reset_with[-trainee.loop._collector._envs.num_envs :]  # noqa: SLF001


def test_the_first_observations_are_none_of_the_agents_numbers() -> None:
    trainee = build_trainee(recipe(EnvironmentSpec("CartPole-v1")), 0)
    first = np.asarray(trainee.loop._collector._observation, np.float64)  # noqa: SLF001
    trainee.close()
    numbers = np.concatenate([Streams(0).generator(use).uniform(-0.05, 0.05, first.size) for use in GENERATORS])
    old = np.random.default_rng(0).uniform(-0.05, 0.05, first.size)
    assert not np.isin(first.astype(np.float32), np.concatenate((numbers, old)).astype(np.float32)).any()


def test_environments_of_different_runs_are_all_different(draws: EnvironmentSpec) -> None:
    found = [seeds_of(build_trainee(recipe(draws), seed)) for seed in range(4)]
    assert all(len(set(seeds)) == N_ENVS for seeds in found)
    assert not any(set(one) & set(other) for one, other in combinations(found, 2))


def test_no_environment_of_a_thousand_runs_is_seeded_as_another() -> None:
    drawn = [EnvironmentSeeds(Streams(seed)).draw(N_ENVS) for seed in range(1_000)]
    assert len({seed for seeds in drawn for seed in seeds}) == 1_000 * N_ENVS
    assert max(map(max, drawn)) < SELECTION_FIRST_SEED


def test_every_use_of_every_run_has_a_stream_of_its_own() -> None:
    states = {
        tuple(Streams(seed).sequence(use).generate_state(4, np.uint64)) for seed in range(100) for use in GENERATORS
    }
    plain = {tuple(np.random.SeedSequence(seed).generate_state(4, np.uint64)) for seed in range(1_000)}
    assert len(states) == 100 * len(GENERATORS)
    assert not states & plain, "an environment that is seeded by a number shares none of them"


def test_every_run_selects_and_evaluates_by_games_of_its_own() -> None:
    selection = sorted(Streams(seed).first_selection_seed for seed in range(100))
    evaluation = sorted(Streams(seed).first_evaluation_seed for seed in range(100))
    assert selection[0] >= SELECTION_FIRST_SEED
    assert selection[-1] + MOST_GAMES <= EVALUATION_FIRST_SEED <= evaluation[0]
    assert evaluation[-1] + MOST_GAMES <= 2**31
    assert min(np.diff(selection)) > 100
    assert min(np.diff(evaluation)) > 100


def test_networks_of_neighbouring_seeds_begin_with_other_weights() -> None:
    agents = [build_trainee(recipe(EnvironmentSpec("CartPole-v1")), seed).agent.weights() for seed in (0, 1)]
    assert not any(torch.equal(tensor, agents[1][name]) for name, tensor in agents[0].items() if tensor.ndim > 1)


def test_a_resumed_run_goes_on_with_seeds_and_numbers_that_it_has_not_used(
    draws: EnvironmentSpec, tmp_path: Path
) -> None:
    begun = build_trainee(recipe(draws), 0)
    before = seeds_of(begun)
    begun = build_trainee(recipe(draws), 0)
    begun.train()
    checkpoint.save(tmp_path, begun.state())
    begun.close()

    resumed = build_trainee(replace(recipe(draws), loop=replace(recipe(draws).loop, steps=640)), 0)
    assert seeds_of(resumed) == before, "until it takes over the checkpoint it is a new run"
    resumed.load_state(checkpoint.load(tmp_path))
    assert not set(Draws.reset_with[-N_ENVS:]) & set(before)
    for use in ("exploration", "replay"):
        assert resumed.loop._rngs[use].random() != Streams(0).generator(use).random()  # noqa: SLF001


def test_two_parts_of_a_run_that_resume_alike_learn_alike(draws: EnvironmentSpec, tmp_path: Path) -> None:
    begun = build_trainee(recipe(draws), 0)
    begun.train()
    checkpoint.save(tmp_path, begun.state())
    results = []
    for _ in range(2):
        resumed = build_trainee(replace(recipe(draws), loop=replace(recipe(draws).loop, steps=640)), 0)
        resumed.load_state(checkpoint.load(tmp_path))
        results.append(resumed.train())
        resumed.close()
    assert results[0].curve == results[1].curve
    for name, tensor in results[0].weights.items():
        assert torch.equal(tensor, results[1].weights[name])
