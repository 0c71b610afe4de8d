"""SAC: the density of its actions, its temperature, its bounds, its export; and that it learns."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch.distributions import Normal, TanhTransform, TransformedDistribution

from polserve.training.errors import InvalidOption
from polserve.training.learning.actor_critic_hyperparameters import SacConfig
from polserve.training.learning.agents.actor_critic import ActorDesign, Features
from polserve.training.learning.agents.sac import SacAgent
from polserve.training.learning.compute import choose, kept_threads
from polserve.training.learning.hyperparameters import NetworkConfig
from polserve.training.learning.transitions import Transitions

SPACE = Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 10.0], np.float32))
DESIGN = ActorDesign(NetworkConfig(hidden_sizes=(64, 64)), SPACE, Features(3))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small networks wait for each other's threads longer than they compute, where cores are shared."""
    with kept_threads():
        torch.set_num_threads(1)
        yield


def agent(seed: int = 0, **changes: object) -> SacAgent:
    torch.manual_seed(seed)
    return SacAgent(SacConfig(**{"batch_size": 64, **changes}), DESIGN, choose("cpu"))  # type: ignore[arg-type]


def transitions(n: int, rng: np.random.Generator, discount: float = 0.0) -> Transitions:
    """Rewards are best at the action (1, 5)."""
    actions = rng.uniform(SPACE.low, SPACE.high, (n, 2)).astype(np.float32)
    reward = -np.square((actions - [1.0, 5.0]) / [2.0, 5.0]).sum(axis=1).astype(np.float32)
    observation = rng.normal(size=(2, n, 3)).astype(np.float32)
    return Transitions(observation[0], actions, reward, np.full(n, discount, np.float32), observation[1])


def test_the_density_is_that_of_a_normal_distribution_through_tanh() -> None:
    actor = agent()._actor  # noqa: SLF001
    features, noise = torch.randn(50, 3), torch.randn(50, 2)
    with torch.no_grad():
        mean, log_deviation = actor.layers(features).chunk(2, dim=1)
        action, density = actor.drawn(features, noise)
        drawn = TransformedDistribution(Normal(mean, log_deviation.exp()), TanhTransform(cache_size=1))
        log_prob = drawn.log_prob(torch.tanh(mean + log_deviation.exp() * noise))  # type: ignore[no-untyped-call]
        expected = log_prob.sum(dim=1)
    assert action.abs().max() < 1
    assert density.numpy() == pytest.approx(expected.numpy(), abs=1e-3)


def test_the_actor_finds_the_best_action_and_hardly_leaves_it() -> None:
    learner = agent(actor_learning_rate=3e-3, critic_learning_rate=3e-3, temperature_learning_rate=1e-2)
    rng = np.random.default_rng(0)
    for _ in range(32):
        learner.learn(transitions(64 * 10, rng))
    observations = rng.normal(size=(20, 3)).astype(np.float32)
    assert learner.greedy(observations).mean(axis=0) / [2.0, 5.0] == pytest.approx([0.5, 1.0], abs=0.15)
    assert learner.losses()["losses/entropy"] == pytest.approx(-2.0, abs=1.0), "what the temperature aims at"


def test_the_temperature_rises_where_entropy_is_too_low_and_falls_where_it_is_too_high() -> None:
    for target_entropy, rises in ((-20.0, False), (20.0, True)):
        learner = agent(target_entropy=target_entropy)
        before = learner.exploration(0)["charts/temperature"]
        learner.learn(transitions(64 * 5, np.random.default_rng(0)))
        assert (learner.exploration(0)["charts/temperature"] > before) is rises


def test_every_action_is_within_its_bounds_and_explored_ones_differ() -> None:
    rng = np.random.default_rng(0)
    observations = rng.normal(0, 1e4, (50, 3)).astype(np.float32)
    for learner in (agent(random_steps=0), agent(random_steps=10)):
        actions = learner.explore(observations, 0, rng)
        assert actions.dtype == np.float32
        assert (actions >= SPACE.low).all()
        assert (actions <= SPACE.high).all()
        assert not np.array_equal(actions, learner.explore(observations, 0, rng))


def test_what_is_exported_acts_as_the_greedy_agent() -> None:
    learner = agent()
    learner.learn(transitions(64, np.random.default_rng(0)))
    observations = np.random.default_rng(1).normal(size=(9, 3)).astype(np.float32)
    exported = learner.policy()(torch.from_numpy(observations)).detach().numpy()
    assert np.array_equal(exported, learner.greedy(observations))


def test_equal_seeds_learn_equal_weights_and_a_state_goes_on_as_before() -> None:
    first, second = agent(), agent()
    for learner in (first, second):
        learner.learn(transitions(128, np.random.default_rng(0), discount=0.9))
    assert all(torch.equal(a, b) for a, b in zip(first.weights().values(), second.weights().values(), strict=True))
    third = agent(seed=9)
    third.load_state(first.state())
    for learner in (second, third):
        learner.learn(transitions(128, np.random.default_rng(2), discount=0.9))
    assert all(torch.equal(a, b) for a, b in zip(second.weights().values(), third.weights().values(), strict=True))
    assert second.exploration(0) == third.exploration(0)


@pytest.mark.parametrize(("name", "value"), [("temperature", 0.0), ("random_steps", -1), ("target_tau", 1.5)])
def test_settings_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(InvalidOption, match=f"{name}: expected"):
        SacConfig(**{name: value})  # type: ignore[arg-type]
