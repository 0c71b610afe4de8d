"""Versions that the exporter makes of untrained networks; as a program, writes those of tests/fixtures.

`python -m tests.support.exports` after a change to the exporter, the spec or the networks.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor, nn

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.names import SCHEMA_VERSION
from polserve.training.environments.making import EnvironmentSpec
from polserve.training.evaluation.statistics import ReturnSummary
from polserve.training.learning.actor_critic_hyperparameters import DdpgConfig
from polserve.training.learning.agents.actor_critic import ActorDesign
from polserve.training.learning.agents.ddpg import DdpgAgent
from polserve.training.learning.compute import choose
from polserve.training.learning.hyperparameters import NetworkConfig
from polserve.training.learning.networks import GreedyPolicy, ValueNetwork
from polserve.training.tasks.adbudget.accounts import default_account
from polserve.training.tasks.adbudget.allocator import AllocationFeatures, SpendPlan
from polserve.training.tasks.adbudget.campaigns import Campaigns
from polserve.training.tasks.adbudget.environment import ALLOCATION_ID
from polserve.training.tasks.atari.screens import FRAME_SHAPE, MS_PACMAN, Screens
from polserve.training.tasks.catalog import look_at
from polserve.training.versions.export import export_policy
from polserve.training.versions.specs import TrainedPolicy, build_spec
from polserve.training.versions.version import PolicyVersion
from tests.support.versions import FRAMES_SHAPE, frames_observations, write_fixture


@lru_cache
def export_cartpole(hidden: tuple[int, ...] = (8,)) -> PolicyVersion:
    """A version of an untrained CartPole network."""
    torch.manual_seed(0)
    network = ValueNetwork(NetworkConfig(hidden_sizes=hidden), (4,), 2)
    observations = np.random.default_rng(0).normal(size=(80, 4)).astype(np.float32)
    _level(network, network.advantage, observations)
    environment = EnvironmentSpec("CartPole-v1")
    trained = TrainedPolicy(
        name="cartpole",
        algorithm="dqn",
        environment=environment,
        facts=look_at(environment),
        provenance=pb.Provenance(run_id="run-0", seed=0),
        evaluation=ReturnSummary(100, 100.0, 100.0, 100.0, 5.0, 99.0, 101.0, 0.95),
        random_mean=20.0,
    )
    return export_policy(GreedyPolicy(network), build_spec(trained), observations)


class _EverySixthPixel(nn.Module):
    """A linear network of few weights: its file is small enough to be committed."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs = nn.Linear(4 * 6 * 6, 5)

    def forward(self, frames: Tensor) -> Tensor:
        values: Tensor = self.outputs((frames[:, :, ::6, ::6].to(torch.float32) / 255).flatten(1))
        return values


@lru_cache
def export_frames() -> PolicyVersion:
    """A version of an untrained network that takes four stacked frames of bytes and has five actions."""
    torch.manual_seed(0)
    network, observations = _EverySixthPixel(), frames_observations()
    _level(network, network.outputs, observations)
    spec = pb.PolicySpec(
        schema_version=SCHEMA_VERSION,
        name="frames",
        algorithm="dqn",
        observation=pb.ObservationSpec(dtype=pb.UINT8, shape=FRAMES_SHAPE, frames=4),
        action=pb.ActionSpec(discrete=pb.DiscreteActions(n=5)),
    )
    return export_policy(GreedyPolicy(network), spec, observations)


@lru_cache
def export_arcade() -> tuple[PolicyVersion, ValueNetwork]:
    """A version of an untrained, small network that plays Ms. Pac-Man from colour frames, and its network."""
    torch.manual_seed(0)
    network = ValueNetwork(NetworkConfig(hidden_sizes=(8,)), (4, *MS_PACMAN.shape), 9)
    shape = (4, *FRAME_SHAPE)
    observations = np.random.default_rng(0).integers(0, 256, (64, *shape), np.uint8)
    spec = pb.PolicySpec(
        schema_version=SCHEMA_VERSION,
        name="arcade",
        algorithm="dqn",
        environment=pb.Environment(id="ALE/MsPacman-v5"),
        observation=pb.ObservationSpec(dtype=pb.UINT8, shape=shape, frames=4),
        action=pb.ActionSpec(discrete=pb.DiscreteActions(n=9)),
    )
    return export_policy(GreedyPolicy(network, Screens()), spec, observations), network


@lru_cache
def export_allocator(n_channels: int = 2) -> PolicyVersion:
    """A version of an untrained allocator: its spends are those of the reference plan, nearly."""
    torch.manual_seed(0)
    environment = EnvironmentSpec(ALLOCATION_ID, {"n_channels": n_channels})
    account = default_account(n_channels)
    space = Box(-1.0, 1.0, (n_channels,), np.float32)
    design = ActorDesign(NetworkConfig(hidden_sizes=(8,)), space, AllocationFeatures(account), SpendPlan(account))
    policy = DdpgAgent(DdpgConfig(), design, choose("cpu")).policy()
    campaigns = Campaigns.of(account.draw_many(np.random.default_rng(0), 80))
    summary = ReturnSummary(100, 1.0, 1.0, 1.0, 1.0, 0.5, 1.5, 0.95)
    trained = TrainedPolicy(
        "adbudget", "td3", environment, look_at(environment), pb.Provenance(run_id="run-0"), summary, 0.5
    )
    return export_policy(policy, build_spec(trained), campaigns.observe())


@torch.no_grad()
def _level(network: nn.Module, outputs: nn.Linear, observations: np.ndarray) -> None:
    """Make every action the best one for its share of the observations, so that a mix-up shows."""
    outputs.bias.sub_(network(torch.from_numpy(observations)).median(dim=0).values)


FIXTURES: dict[str, Callable[[], PolicyVersion]] = {
    "cartpole": export_cartpole,
    "frames": export_frames,
    "adbudget-2": export_allocator,
    "adbudget-5": lambda: export_allocator(5),
}
"""What makes each version of tests/fixtures, by its name there."""

if __name__ == "__main__":
    for fixture_name, export in FIXTURES.items():
        write_fixture(fixture_name, export())
