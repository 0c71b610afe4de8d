from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from polserve.training.environments.making import EnvironmentSpec
from polserve.training.errors import InvalidOption
from polserve.training.learning.agents.actor import ValueActor
from polserve.training.learning.agents.dqn import DqnAgent
from polserve.training.learning.agents.exploration import Exploration
from polserve.training.learning.agents.losses import (
    RelativeKappa,
    move_towards,
    q_learning_target,
    quantile_loss,
    take,
    td_loss,
)
from polserve.training.learning.compute import choose
from polserve.training.learning.hyperparameters import DqnConfig, ExplorationConfig, NetworkConfig
from polserve.training.learning.networks import ValueNetwork
from polserve.training.learning.transitions import Transitions
from polserve.training.runs.defaults import recipe_for


def transitions(n: int, *, discount: float = 0.99) -> Transitions:
    rng = np.random.default_rng(0)
    return Transitions(
        observation_tm1=rng.normal(size=(n, 4)).astype(np.float32),
        action_tm1=rng.integers(2, size=n),
        reward_t=rng.normal(size=n).astype(np.float32),
        discount_t=np.full(n, discount, np.float32),
        observation_t=rng.normal(size=(n, 4)).astype(np.float32),
    )


def agent(seed: int = 0, quantiles: int = 1, **changes: object) -> DqnAgent:
    torch.manual_seed(seed)
    network = ValueNetwork(NetworkConfig(hidden_sizes=(16,), dueling=quantiles > 1, quantiles=quantiles), (4,), 2)
    config = DqnConfig(batch_size=8, **changes)  # type: ignore[arg-type]
    return DqnAgent(config, ValueActor(network, choose("cpu")), Exploration(ExplorationConfig(), 2))


def test_double_dqn_values_the_selectors_choice_by_the_target_network() -> None:
    target = q_learning_target(
        q_t_target=torch.tensor([[1.0, 10.0]]),
        q_t_selector=torch.tensor([[5.0, 2.0]]),
        reward_t=torch.tensor([0.5]),
        discount_t=torch.tensor([0.9]),
    )
    assert target.tolist() == pytest.approx([0.5 + 0.9 * 1.0])


def test_a_terminated_transition_bootstraps_nothing_and_a_truncated_one_does() -> None:
    values = torch.tensor([[3.0, 4.0], [3.0, 4.0]])
    target = q_learning_target(values, values, torch.tensor([1.0, 1.0]), torch.tensor([0.0, 0.5]))
    assert target.tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("kind", "expected"), [("huber", (0.5 * 0.25 + (3 - 0.5)) / 2), ("squared", (0.125 + 4.5) / 2)]
)
def test_the_loss_is_of_the_actions_taken(kind: str, expected: float) -> None:
    q_tm1 = torch.tensor([[0.5, 9.0], [9.0, 3.0]])
    loss = td_loss(take(q_tm1, torch.tensor([0, 1])), torch.zeros(2), kind)  # type: ignore[arg-type]
    assert float(loss) == pytest.approx(expected)


@pytest.mark.parametrize(("tau", "expected"), [(0.25, 0.25), (1.0, 1.0)])
def test_the_target_network_moves_softly_or_by_a_copy(tau: float, expected: float) -> None:
    target, online = nn.Linear(2, 1), nn.Linear(2, 1)
    for module, value in ((target, 0.0), (online, 1.0)):
        nn.init.constant_(module.weight, value)
        nn.init.constant_(module.bias, value)
    move_towards(target, online, tau)
    assert torch.equal(target.weight, torch.full((1, 2), expected))


def test_learning_lowers_the_error_on_one_batch() -> None:
    learner = agent(learning_rate=1e-2, learning_rate_end=1e-2)
    batch = transitions(8, discount=0.0)
    learner.learn(batch)
    before = learner.losses()["losses/td"]
    for _ in range(200):
        learner.learn(batch)
    assert learner.losses()["losses/td"] < before / 10


def test_a_block_of_batches_makes_one_update_of_each() -> None:
    learner = agent()
    learner.learn(transitions(24))
    assert learner.state()["updates"] == 3


def test_epsilon_falls_linearly_and_one_explores_everything() -> None:
    exploration = Exploration(ExplorationConfig(epsilon_start=1.0, epsilon_end=0.0, epsilon_steps=100), 2)
    assert exploration.figures(50) == {"charts/epsilon": 0.5}
    greedy = np.zeros(2000, np.int64)
    drawn = exploration.choose(greedy, 0, np.random.default_rng(0))
    assert 0.4 < drawn.mean() < 0.6, "all random at step 0"
    assert (exploration.choose(greedy, 100, np.random.default_rng(0)) == greedy).all()


def test_a_random_action_is_repeated_for_as_long_as_was_drawn() -> None:
    often = ExplorationConfig(epsilon_start=0.05, epsilon_end=0.05, repeat_exponent=1.5)
    exploration, rng = Exploration(often, 3), np.random.default_rng(0)
    chosen = np.stack([exploration.choose(np.full(50, 9), 0, rng) for _ in range(400)])
    is_random = chosen != 9
    runs = [len(run) for column in is_random.T for run in "".join("x" if x else " " for x in column).split()]
    assert max(runs) > 20
    assert np.mean(is_random) > 0.1, "more than the 5 % that begin"
    changes = (chosen[1:] != chosen[:-1]) & is_random[1:] & is_random[:-1]
    assert changes.mean() < 0.05, "a new action begins only when the one before has ended"


@pytest.mark.parametrize(("n", "repeating"), [(8, 4), (3, 2), (1, 1)])
def test_random_actions_are_repeated_in_a_share_of_the_environments(n: int, repeating: int) -> None:
    half = ExplorationConfig(epsilon_start=1.0, epsilon_end=1.0, repeat_exponent=1.5, repeat_share=0.5)
    exploration, rng = Exploration(half, 100), np.random.default_rng(0)
    chosen = np.stack([exploration.choose(np.zeros(n, np.int64), 0, rng) for _ in range(400)])
    same = (chosen[1:] == chosen[:-1]).mean(axis=0)
    assert (same[:repeating] > 0.5).all()
    assert (same[repeating:] < 0.05).all()


@pytest.mark.parametrize(
    "begin",
    [
        lambda agent, known: agent.load_weights(known.weights()),
        lambda agent, known: agent.load_state({name: part for name, part in known.state().items() if name != "bounds"}),
    ],
    ids=["of weights", "of a checkpoint without bounds"],
)
def test_weights_that_an_agent_begins_with_keep_their_values_until_a_reward_is_met(
    begin: Callable[[DqnAgent, DqnAgent], None],
) -> None:
    """Without rewards in the replay, targets between the returns of those seen so far would all be 0."""
    known, begun = agent(seed=1), agent(seed=2)
    with torch.no_grad():
        known._online.advantage.bias.fill_(50.0)  # type: ignore[union-attr,operator]  # noqa: SLF001
    known.load_weights(known.weights())  # by the target network too
    begin(begun, known)
    silent = replace(transitions(64, discount=1.0), reward_t=np.zeros(64, np.float32))
    for _ in range(50):
        begun.learn(silent)
    assert begun.losses()["losses/q_mean"] > 45


def test_learning_goes_on_from_a_saved_state_as_if_never_stopped() -> None:
    learner, other = agent(0), agent(1)
    learner.learn(transitions(24))
    other.load_state(deepcopy(learner.state()))
    for each in (learner, other):
        each.learn(transitions(8))
    for name, tensor in learner.weights().items():
        assert torch.equal(tensor, other.weights()[name])


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("discount", 1.5, "a number from 0 to 1"),
        ("learning_rate", 0.0, "a positive number"),
        ("target_tau", 0.0, "above 0"),
        ("batch_size", 0, "at least 1"),
    ],
)
def test_a_hyper_parameter_out_of_range_is_refused_by_name(option: str, value: object, expected: str) -> None:
    with pytest.raises(InvalidOption, match=f"{option}: expected .*{expected}"):
        DqnConfig(**{option: value})  # type: ignore[arg-type]


def test_the_quantile_loss_is_least_at_the_quantiles_of_the_target() -> None:
    rng = torch.Generator().manual_seed(0)
    samples = torch.randn(1, 2_000, generator=rng) * 10  # wide, so that the Huber bound of 1 is small beside it
    quantiles = torch.zeros(1, 5, requires_grad=True)
    optimizer = torch.optim.Adam([quantiles], lr=0.2)
    for _ in range(600):
        optimizer.zero_grad()
        quantile_loss(quantiles, samples).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    expected = torch.quantile(samples, torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9]))
    assert quantiles.detach()[0].numpy() == pytest.approx(expected.numpy(), abs=0.5)


@pytest.mark.parametrize("scale", [0.01, 1.0, 1_000.0])
@pytest.mark.parametrize(
    ("draw", "mean"),
    [
        (lambda uniform: (uniform < 0.1).float(), 0.1),
        (lambda uniform: -torch.log(uniform), 1.0),
        (lambda uniform: (uniform < 0.7).float() - 0.5, 0.2),
    ],
    ids=["one in ten", "exponential", "mostly"],
)
def test_the_mean_of_learned_quantiles_is_the_mean_of_returns_of_any_scale(
    draw: Callable[[torch.Tensor], torch.Tensor], mean: float, scale: float
) -> None:
    rng, n_updates = torch.Generator().manual_seed(0), 1_000
    quantiles = torch.zeros(1, 51, requires_grad=True)
    optimizer = torch.optim.Adam([quantiles])
    relative, means = RelativeKappa(), []
    for update in range(n_updates):
        optimizer.param_groups[0]["lr"] = 4e-2 * scale * (1 - update / n_updates)
        target = draw(torch.rand((256, 1), generator=rng)) * scale
        optimizer.zero_grad()
        taken = quantiles.expand(256, 51)
        quantile_loss(taken, target, relative.of(taken, target)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        means.append(float(quantiles.detach().mean()))
    assert np.mean(means[-300:]) == pytest.approx(mean * scale, rel=0.02)


@pytest.mark.parametrize("scale", [0.01, 1.0, 1_000.0])
@pytest.mark.parametrize("share", [0.1, 0.02])
def test_the_default_loss_of_dqn_learns_the_mean_of_rare_returns_at_any_scale(share: float, scale: float) -> None:
    agent_config = recipe_for("dqn", EnvironmentSpec("CartPole-v1"), "any").agent
    assert isinstance(agent_config, DqnConfig)
    rng, n_updates = torch.Generator().manual_seed(0), 2_000
    value, values = torch.zeros(1, 1, requires_grad=True), []
    optimizer = torch.optim.Adam([value])
    for update in range(n_updates):
        optimizer.param_groups[0]["lr"] = 4e-3 * scale * (1 - update / n_updates)
        target = (torch.rand((2_048, 1), generator=rng) < share).float() * scale
        optimizer.zero_grad()
        td_loss(value.expand(2_048, 1), target, agent_config.loss).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        values.append(value.item())
    assert np.mean(values[-1_000:]) == pytest.approx(share * scale, rel=0.02)


def test_quantiles_of_the_chosen_action_are_bootstrapped_from() -> None:
    quantiles_t = torch.tensor([[[1.0, 3.0], [0.0, 2.0]]])
    target = q_learning_target(quantiles_t, quantiles_t.mean(dim=2), torch.tensor([0.5]), torch.tensor([0.9]))
    assert target.tolist() == [pytest.approx([0.5 + 0.9 * 1.0, 0.5 + 0.9 * 3.0])]


def test_a_network_of_quantiles_learns_too() -> None:
    learner = agent(quantiles=5, learning_rate=1e-2, learning_rate_end=1e-2)
    assert learner.algorithm == "qr-dqn"
    batch = transitions(8, discount=0.0)
    learner.learn(batch)
    before = learner.losses()["losses/td"]
    for _ in range(200):
        learner.learn(batch)
    assert learner.losses()["losses/td"] < before / 3


def test_dueling_advantages_average_to_nothing() -> None:
    network = ValueNetwork(NetworkConfig(hidden_sizes=(16,), dueling=True), (4,), 3)
    observation = torch.randn(5, 4)
    features = network.torso(observation)
    assert network.value is not None
    value = network.value(features[:, :16])
    assert network(observation).mean(dim=1).detach().numpy() == pytest.approx(value.detach().numpy()[:, 0], abs=1e-6)


@pytest.mark.parametrize(("padding", "n_features"), [("valid", 64 * 7 * 6), ("same", 64 * 11 * 10)])
def test_the_convolutions_leave_what_their_padding_says(padding: str, n_features: int) -> None:
    network = ValueNetwork(NetworkConfig(hidden_sizes=(8,), padding=padding), (4, 88, 80), 9)  # type: ignore[arg-type]
    dense = next(layer for layer in network.torso if isinstance(layer, nn.Linear))
    assert dense.in_features == n_features


def test_the_guides_pixels_are_scaled_as_it_says() -> None:
    screens = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    network = ValueNetwork(NetworkConfig(pixels="guide"), (1, 88, 80), 9)
    assert torch.allclose(network.torso[0](screens), (screens.float() - 128) / 128 - 1)


def test_a_network_without_units_is_refused() -> None:
    with pytest.raises(InvalidOption, match="hidden_sizes: expected sizes of at least 1"):
        NetworkConfig(hidden_sizes=(0,))
