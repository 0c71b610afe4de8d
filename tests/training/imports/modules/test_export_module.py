"""A torch module in hand becomes a version that acts as it does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete
from torch import Tensor, nn

from polserve import export, load
from polserve.training.environments.making import EnvironmentSpec
from polserve.training.errors import ExportRefused, ImportRefused, InvalidOption, UnsupportedEnvironment
from polserve.training.imports.modules.finishing import Gives
from polserve.training.imports.modules.importer import ModuleOptions, read_module
from polserve.training.imports.observations import drawn
from polserve.training.imports.places import Place, find_place
from tests.support.one import OnlyOne

FOUR = Box(-1, 1, (4,), np.float32)
TWO_BOUNDS = Box(np.array([-2, 0], np.float32), np.array([2, 1], np.float32))


def linear(outputs: int) -> nn.Linear:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Linear(4, outputs)


class Sampling(nn.Module):
    """A policy that draws its actions."""

    def forward(self, observations: Tensor) -> Tensor:
        return torch.multinomial(torch.full((len(observations), 2), 0.5), 1)[:, 0]


class Branching(nn.Module):
    """A policy that no exporter can follow."""

    def forward(self, observations: Tensor) -> Tensor:
        return observations[:, :2] if observations.sum().item() > 0 else observations[:, 2:]


class Leaning(nn.Module):
    """A policy that pushes CartPole's cart to where the pole leans, with values for both actions."""

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        leaning = observations[:, 2] + 0.3 * observations[:, 3]
        values = torch.stack([-leaning, leaning], 1)
        return values.argmax(1), values


def test_a_module_becomes_an_evaluated_version_that_loads(tmp_path: Path) -> None:
    version = export(
        Leaning(), env="CartPole-v1", name="lean", algorithm="by hand", episodes=3, folder=tmp_path, progress=False
    )

    assert version.path == tmp_path / "lean" / "1"
    assert version.evaluation is not None
    assert version.evaluation.mean > 150
    assert (version.spec.algorithm, version.spec.parity.compared_with) == ("by hand", "the module in torch")
    assert version.spec.provenance.source.file == "Leaning"
    answer = load(version.path).act([0, 0, 0.1, 0], with_values=True)
    assert answer.action == 1
    assert answer.values is not None
    np.testing.assert_allclose(answer.values, np.array([-0.1, 0.1]), rtol=1e-5)


def test_the_environment_may_be_given_by_what_makes_it(tmp_path: Path) -> None:
    version = export(Leaning(), env=CartPoleEnv, episodes=2, max_steps=50, folder=tmp_path, progress=False)

    assert (version.name, version.spec.environment.id) == ("cartpoleenv", "CartPoleEnv")
    assert version.evaluation is not None


@pytest.mark.parametrize(
    ("outputs", "gives", "space", "expected"),
    [
        (3, None, Discrete(3), lambda y: y.argmax(1)),
        (3, "values", Discrete(3, start=5), lambda y: y.argmax(1) + 5),
        (3, "logits", Discrete(3, start=-1), lambda y: y.argmax(1) - 1),
        (5, None, MultiDiscrete([2, 3]), lambda y: np.stack([y[:, :2].argmax(1), y[:, 2:].argmax(1)], 1)),
        (3, "logits", MultiBinary(3), lambda y: y > 0),
        (2, "means", TWO_BOUNDS, lambda y: np.clip(y, TWO_BOUNDS.low, TWO_BOUNDS.high)),
        (2, None, Box(-9, 9, (2,), np.float32), lambda y: y),
        (4, None, Box(-9, 9, (2, 2), np.float32), lambda y: y.reshape(-1, 2, 2)),
    ],
)
def test_what_a_module_gives_becomes_actions_of_the_space(
    outputs: int, gives: Gives | None, space: gym.Space[Any], expected: Callable[[Any], Any]
) -> None:
    module = linear(outputs)

    policy = read_module(module, ModuleOptions(gives, observation_space=FOUR, action_space=space), Place())

    observations = drawn(FOUR, 50)
    with torch.no_grad():
        given = module(torch.from_numpy(observations)).numpy()
    np.testing.assert_allclose(policy.original(observations), expected(given), rtol=1e-6)


def test_squashed_numbers_are_scaled_to_the_bounds() -> None:
    options = ModuleOptions("squashed", observation_space=FOUR, action_space=TWO_BOUNDS)

    policy = read_module(nn.Sequential(linear(2), nn.Tanh()), options, Place())

    observations = drawn(FOUR, 50)
    with torch.no_grad():
        squashed = torch.tanh(linear(2)(torch.from_numpy(observations))).numpy()
    np.testing.assert_allclose(policy.original(observations), squashed * [2, 0.5] + [0, 0.5], rtol=1e-5, atol=1e-6)


def test_parts_come_in_a_row_and_the_spec_keeps_their_names() -> None:
    space = Dict({"position": Box(-1, 1, (3,)), "speed": Box(-1, 1, (1,))})
    options = ModuleOptions(observation_space=space, action_space=Discrete(2))

    policy = read_module(linear(2), options, Place())

    assert policy.observation_space.shape == (4,)
    assert policy.emitted_space == space


def test_the_module_in_hand_is_left_as_it_is() -> None:
    module = nn.Sequential(linear(2), nn.Dropout(0.5)).train()

    read_module(module, ModuleOptions(observation_space=FOUR, action_space=Discrete(2)), Place())

    assert module.training


@pytest.mark.parametrize(
    ("module", "options", "says"),
    [
        (
            linear(3),
            ModuleOptions(),
            r"expected 2 scores for each observation, as Discrete\(2\) takes, got float32 \(3,\)",
        ),
        (linear(2), ModuleOptions("actions"), "expected a whole number for each, got float32"),
        (linear(2), ModuleOptions("means"), "gives: expected actions, values or logits for Discrete"),
        (nn.Linear(5, 2), ModuleOptions(), r"expected a module that takes observations float32 \(4,\) in batches, got"),
        (nn.Flatten(0), ModuleOptions(), "expected a tensor with a row for each of 2 observations"),
        (Sampling(), ModuleOptions("actions"), "expected a deterministic module"),
    ],
)
def test_a_module_that_gives_no_such_actions_is_refused(module: nn.Module, options: ModuleOptions, says: str) -> None:
    with pytest.raises(ImportRefused, match=says):
        read_module(module, options, find_place(EnvironmentSpec("CartPole-v1")))


def test_actions_outside_their_bounds_are_refused() -> None:
    options = ModuleOptions(observation_space=FOUR, action_space=Box(-0.1, 0.1, (2,), np.float32))

    with pytest.raises(ImportRefused, match="say what it gives by gives="):
        read_module(linear(2), options, Place())


@pytest.mark.usefixtures("only_one")
def test_a_module_of_an_environment_of_which_only_one_may_exist_is_evaluated(tmp_path: Path) -> None:
    network = nn.Linear(2, 2)

    with pytest.raises(UnsupportedEnvironment, match="port 5555 is in use"):
        export(network, env=OnlyOne, episodes=3, folder=tmp_path, progress=False)
    version = export(network, env=OnlyOne, episodes=3, envs=1, folder=tmp_path, progress=False)

    assert version.evaluation is not None
    assert OnlyOne.existing == 0


def test_spaces_are_needed_without_an_environment() -> None:
    with pytest.raises(ImportRefused, match="observation_space: expected one, since no environment was named"):
        read_module(linear(2), ModuleOptions(), Place())
    with pytest.raises(ImportRefused, match="action_space: expected one, since no environment was named"):
        read_module(linear(2), ModuleOptions(observation_space=FOUR), Place())


def test_a_module_that_cannot_be_exported_is_refused_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(ExportRefused, match=r"torch.onnx.export cannot export the network: "):
        export(Branching(), env="CartPole-v1", episodes=2, folder=tmp_path, progress=False)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"network": lambda x: x}, "network: expected a torch.nn.Module"),
        ({"gives": "q"}, "gives: expected actions or values"),
        ({"observation_space": (4,)}, "observation_space: expected a space of gymnasium"),
        ({"frames": -1}, "frames: expected 0 or more"),
        ({"env": CartPoleEnv()}, "env: expected a Gymnasium id or what makes"),
    ],
)
def test_arguments_are_checked_by_name(arguments: dict[str, Any], says: str) -> None:
    network = arguments.pop("network", linear(2))

    with pytest.raises(InvalidOption, match=says):
        export(network, **arguments)
