"""Files as CleanRL's scripts save them: networks under the names of its scripts' layers, with weights by chance."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

LOW, HIGH = np.array([-2.0], np.float32), np.array([2.0], np.float32)
"""Bounds of Pendulum's torque."""
ATOMS = torch.linspace(-100.0, 100.0, 101)


def nature(outputs: int | None = None) -> list[nn.Module]:
    """Convolutions and the wide layer of the scripts for Atari, and an output layer where there is one."""
    layers = [nn.Conv2d(4, 32, 8, stride=4), nn.ReLU(), nn.Conv2d(32, 64, 4, stride=2), nn.ReLU()]
    layers += [nn.Conv2d(64, 64, 3, stride=1), nn.ReLU(), nn.Flatten(), nn.Linear(3136, 512), nn.ReLU()]
    return [*layers, *([nn.Linear(512, outputs)] if outputs else [])]


def mlp(sizes: list[int], activation: Callable[[], nn.Module]) -> nn.Sequential:
    """Linear layers with an activation between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])


class Network(nn.Module):
    """A network under the name `network`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network


class Actor(nn.Module):
    """The actor of the scripts for DDPG and TD3, and of SAC's where its output layer is `fc_mean`."""

    def __init__(self, output: str) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(3, 256), nn.Linear(256, 256)
        self.add_module(output, nn.Linear(256, 1))
        if output == "fc_mean":
            self.fc_logstd = nn.Linear(256, 1)
        self.output = output
        self.register_buffer("action_scale", torch.from_numpy((HIGH - LOW) / 2))
        self.register_buffer("action_bias", torch.from_numpy((HIGH + LOW) / 2))

    def forward(self, observations: Tensor) -> Tensor:
        hidden = torch.relu(self.fc2(torch.relu(self.fc1(observations))))
        squashed = torch.tanh(self.get_submodule(self.output)(hidden))
        return squashed * self.get_buffer("action_scale") + self.get_buffer("action_bias")


class Agent(nn.Module):
    """The agent of PPO's scripts: an actor and a critic, behind convolutions where `trunk` has them."""

    def __init__(self, actor: nn.Module, critic: nn.Module, trunk: nn.Module | None = None, logstd: int = 0) -> None:
        super().__init__()
        self.trunk = trunk is not None
        if trunk is not None:
            self.network = trunk
        self.critic = critic
        if logstd:
            self.actor_mean, self.actor_logstd = actor, nn.Parameter(torch.zeros(1, logstd))
        else:
            self.actor = actor


def seeded(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """Module whose weights follow from the seed, and nothing else's do."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def save(path: Path, content: Any) -> Path:
    """`path` holds what torch.save makes of the content."""
    torch.save(content, path)
    return path


def c51_file(path: Path, network: nn.Module, **arguments: Any) -> Path:
    """`path` holds what C51's script saves: the weights, and the script's arguments."""
    settings: Mapping[str, Any] = {"exp_name": "c51", "seed": 1, "n_atoms": 101, "v_min": -100.0, "v_max": 100.0}
    return save(path, {"model_weights": network.state_dict(), "args": {**settings, **arguments}})
