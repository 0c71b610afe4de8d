"""CleanRL's saved models act, once imported, as its scripts' networks do when they are greedy."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from torch import Tensor, nn

from polserve.training.environments.making import EnvironmentSpec
from polserve.training.errors import ImportRefused, InvalidOption
from polserve.training.imports.cleanrl.importer import CleanrlOptions, read_cleanrl
from polserve.training.imports.observations import drawn
from polserve.training.imports.places import Place, find_place
from polserve.training.versions.export import export_graph
from polserve.training.versions.onnx_policy import OnnxPolicy
from tests.support.cleanrl_files import ATOMS, HIGH, LOW, Actor, Agent, Network, c51_file, mlp, nature, save, seeded

CARTPOLE, PENDULUM = EnvironmentSpec("CartPole-v1"), EnvironmentSpec("Pendulum-v1")


@dataclass(frozen=True)
class Case:
    """A file as a script saves it, and what its network answers: scores of discrete actions, or continuous actions."""

    write: Callable[[Path], Path]
    answers: Callable[[Tensor], Tensor]
    algorithm: str
    environment: EnvironmentSpec | None = None


def of_values(network: nn.Module, algorithm: str = "dqn", scale: float = 1.0) -> Case:
    module = Network(network)
    return Case(
        lambda path: save(path, module.state_dict()),
        lambda observations: network(observations / scale),
        algorithm,
        CARTPOLE if scale == 1.0 else None,
    )


def of_distributions() -> Case:
    module = Network(mlp([4, 120, 84, 2 * 101], nn.ReLU))

    def values(observations: Tensor) -> Tensor:
        chances = torch.softmax(module.network(observations).view(-1, 2, 101), dim=2)
        return chances @ ATOMS

    return Case(lambda path: c51_file(path, module), values, "c51", CARTPOLE)


def of_actor(algorithm: str, critics: int) -> Case:
    actor = Actor("fc_mean" if algorithm == "sac" else "fc_mu")
    parts = (actor.state_dict(), *[nn.Linear(4, 1).state_dict()] * critics)
    return Case(lambda path: save(path, parts if critics else parts[0]), actor, algorithm, PENDULUM)


def of_agent(actor: nn.Module, trunk: nn.Sequential | None = None, scale: float = 1.0) -> Case:
    agent = Agent(actor, mlp([4, 64, 1], nn.Tanh), trunk)

    def logits(observations: Tensor) -> Tensor:
        answer: Tensor = actor(trunk(observations / scale) if trunk else observations)
        return answer

    return Case(lambda path: save(path, agent.state_dict()), logits, "ppo", None if trunk else CARTPOLE)


def of_gaussian() -> Case:
    actor = mlp([3, 64, 64, 1], nn.Tanh)
    with torch.no_grad():
        actor.get_parameter("4.weight").mul_(20)  # beyond the bounds at times
    agent = Agent(actor, mlp([3, 64, 1], nn.Tanh), logstd=1)
    return Case(
        lambda path: save(path, agent.state_dict()),
        lambda observations: actor(observations).clamp(torch.from_numpy(LOW), torch.from_numpy(HIGH)),
        "ppo",
        PENDULUM,
    )


CASES: dict[str, Callable[[], Case]] = {
    "dqn.py": lambda: of_values(mlp([4, 120, 84, 2], nn.ReLU)),
    "dqn_atari.py": lambda: of_values(nn.Sequential(*nature(6)), scale=255.0),
    "c51.py": of_distributions,
    "ddpg_continuous_action.py": lambda: of_actor("ddpg", 1),
    "td3_continuous_action.py": lambda: of_actor("td3", 2),
    "sac_continuous_action.py": lambda: of_actor("sac", 0),
    "ppo.py": lambda: of_agent(mlp([4, 64, 64, 2], nn.Tanh)),
    "ppo_atari.py": lambda: of_agent(nn.Linear(512, 6), nn.Sequential(*nature()), 255.0),
    "ppo_continuous_action.py": of_gaussian,
}


def place_of(environment: EnvironmentSpec | None) -> Place:
    return find_place(environment)


def graph_answers(module: Any, observations: NDArray[Any]) -> dict[str, NDArray[Any]]:
    return OnnxPolicy(export_graph(module, observations[:2]).SerializeToString()).run(observations)


@pytest.mark.parametrize("script", CASES)
def test_the_rebuilt_network_acts_as_the_scripts_own(script: str, tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        case = CASES[script]()
    path = case.write(tmp_path / script.replace(".py", ".cleanrl_model"))

    policy = read_cleanrl(path, CleanrlOptions(), place_of(case.environment))

    observations = drawn(policy.observation_space, 30)
    with torch.no_grad():
        expected = case.answers(torch.Tensor(observations)).numpy()
    got = policy.original(observations)
    assert policy.algorithm == case.algorithm
    assert (expected.std(axis=0) > 0).all()
    if policy.preferences is None:
        np.testing.assert_allclose(got, expected, atol=1e-5)
    else:
        np.testing.assert_allclose(policy.preferences(observations), expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(got, expected.argmax(1))


def test_the_exported_graph_gives_the_means_of_distributions_as_values(tmp_path: Path) -> None:
    policy = read_cleanrl(of_distributions().write(tmp_path / "c51.cleanrl_model"), CleanrlOptions(), Place())

    observations = drawn(policy.observation_space, 10)
    assert policy.preferences is not None
    got = graph_answers(policy.graph, observations)["values"]
    np.testing.assert_allclose(got, policy.preferences(observations), rtol=1e-4, atol=1e-4)


def test_what_a_script_saved_of_its_arguments_is_kept(tmp_path: Path) -> None:
    path = c51_file(tmp_path / "c51.cleanrl_model", Network(mlp([4, 8, 202], nn.ReLU)), seed=3, total_timesteps=500_000)

    policy = read_cleanrl(path, CleanrlOptions(), place_of(CARTPOLE))

    assert (policy.seed, policy.environment_steps, policy.settings["v_max"]) == (3, 500_000, 100.0)
    assert (policy.source.tool, policy.source.algorithm) == ("CleanRL", "c51")


@pytest.mark.parametrize(("bounds", "space"), [((-3.0, 1.0), Box(-3, 1, (1,), np.float32)), (None, None)])
def test_without_its_environment_bounds_must_be_given_where_no_file_tells_them(
    bounds: tuple[float, float] | None, space: Box | None, tmp_path: Path
) -> None:
    path = of_gaussian().write(tmp_path / "ppo.cleanrl_model")

    if bounds is None:
        with pytest.raises(ImportRefused, match="name it with --env, or give --action-bounds LOW,HIGH"):
            read_cleanrl(path, CleanrlOptions(), Place())
    else:
        assert read_cleanrl(path, CleanrlOptions(bounds=bounds), Place()).action_space == space


def test_without_its_environment_the_file_tells_the_spaces(tmp_path: Path) -> None:
    dqn = read_cleanrl(of_values(mlp([4, 8, 3], nn.ReLU)).write(tmp_path / "a"), CleanrlOptions(), Place())
    td3 = read_cleanrl(of_actor("td3", 2).write(tmp_path / "b"), CleanrlOptions(), Place())
    atari = read_cleanrl(CASES["dqn_atari.py"]().write(tmp_path / "c"), CleanrlOptions(), Place())

    assert (dqn.observation_space.shape, dqn.action_space) == ((4,), Discrete(3))
    assert td3.action_space == Box(LOW, HIGH)
    assert atari.observation_space == Box(0, 255, (4, 84, 84), np.uint8)


def test_statistics_of_observations_go_into_the_graph_and_their_lack_is_said(tmp_path: Path) -> None:
    case = of_gaussian()
    path = case.write(tmp_path / "ppo.cleanrl_model")
    mean, var = np.array([0.5, -0.5, 2.0]), np.array([0.25, 1.0, 9.0])
    np.savez(tmp_path / "statistics.npz", mean=mean, var=var)

    bare = read_cleanrl(path, CleanrlOptions(), place_of(PENDULUM))
    policy = read_cleanrl(path, CleanrlOptions(normalize=tmp_path / "statistics.npz"), place_of(PENDULUM))

    observations = drawn(policy.observation_space, 100)
    normal = np.clip((observations - mean) / np.sqrt(var + 1e-8), -10, 10).astype(np.float32)
    with torch.no_grad():
        expected = case.answers(torch.from_numpy(normal)).numpy()
    np.testing.assert_allclose(graph_answers(policy.graph, observations)["action"], expected, atol=1e-5)
    assert "--normalize FILE.npz" in bare.notes[0]
    assert policy.notes == ()


def test_an_activation_of_ones_own_can_be_named(tmp_path: Path) -> None:
    network = mlp([4, 16, 2], nn.Tanh)
    path = save(tmp_path / "dqn.cleanrl_model", Network(network).state_dict())

    policy = read_cleanrl(path, CleanrlOptions(activation="tanh"), place_of(CARTPOLE))

    observations = drawn(policy.observation_space, 50)
    with torch.no_grad():
        expected = network(torch.from_numpy(observations)).argmax(1).numpy()
    np.testing.assert_array_equal(policy.original(observations), expected)
    with pytest.raises(InvalidOption, match="activation: expected relu or tanh or elu or silu, got 'gelu'"):
        CleanrlOptions(activation="gelu")


@pytest.mark.parametrize(
    ("sizes", "environment", "says"),
    [
        ([5, 8, 2], CARTPOLE, "the network takes 5 numbers, got an environment, CartPole-v1, that has Box"),
        ([4, 8, 3], CARTPOLE, "the network chooses one of 3 actions, from 0, got an environment that takes Discrete"),
        ([3, 8, 2], PENDULUM, "the network chooses one of 2 actions, from 0, got an environment that takes Box"),
    ],
)
def test_a_file_of_another_environment_is_refused(
    sizes: list[int], environment: EnvironmentSpec, says: str, tmp_path: Path
) -> None:
    path = of_values(mlp(sizes, nn.ReLU)).write(tmp_path / "dqn.cleanrl_model")

    with pytest.raises(ImportRefused, match=says):
        read_cleanrl(path, CleanrlOptions(), place_of(environment))


def test_an_actor_of_other_bounds_than_the_environments_is_refused(tmp_path: Path) -> None:
    state = seeded(lambda: Actor("fc_mu")).state_dict()
    state["action_scale"] = torch.tensor([5.0])

    with pytest.raises(ImportRefused, match=r"acts between \[-5.0\] and \[5.0\], got an environment that takes Box"):
        read_cleanrl(save(tmp_path / "a", (state, state)), CleanrlOptions(), place_of(PENDULUM))
