"""A recipe and a seed made into an agent in its environments."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from polserve.training.environments.inspection import EnvironmentFacts
from polserve.training.environments.spaces import continuous_actions, discrete_actions, observation_box
from polserve.training.errors import CheckpointError
from polserve.training.learning.agents.actor import ValueActor
from polserve.training.learning.agents.actor_critic import ActorDesign, Features
from polserve.training.learning.agents.ddpg import DdpgAgent
from polserve.training.learning.agents.dqn import DqnAgent
from polserve.training.learning.agents.exploration import Exploration
from polserve.training.learning.agents.pqn import PqnAgent
from polserve.training.learning.compute import Compute, Device, choose, set_threads
from polserve.training.learning.hyperparameters import DdpgConfig, DqnConfig, PqnConfig
from polserve.training.learning.loop import Loop, Parts
from polserve.training.learning.networks import ValueNetwork
from polserve.training.learning.replay import Replay
from polserve.training.learning.updates import ReplayLearner, RolloutLearner
from polserve.training.learning.views import View
from polserve.training.runs.initial_weights import Origin
from polserve.training.runs.initial_weights import load as load_origin
from polserve.training.runs.preflight import check_seed, inspect_for
from polserve.training.runs.recipe import Recipe
from polserve.training.tasks.task import TaskSetup


class Trainee:
    """An agent with its environments and its loop."""

    def __init__(self, recipe: Recipe, facts: EnvironmentFacts, seed: int, device: Device = "auto") -> None:
        """Build everything from the seed alone."""
        self.facts = facts
        """What the environment showed."""
        set_threads(recipe.threads)
        compute = choose(device)
        self.device = compute.device
        self.setup = recipe.task.set_up(recipe.environment, recipe.loop)
        """What the task brings to this run."""
        self.notes = _notes(recipe, facts, self.setup)
        """What a person should know of the environment before hours are spent in it, a sentence each."""
        torch.manual_seed(seed)
        make_parts = _continuous if isinstance(recipe.agent, DdpgConfig) else _discrete
        parts = make_parts(recipe, self.setup, compute)
        self._envs = parts.envs
        self.agent = parts.agent
        self.loop = Loop(parts, recipe.rewards, recipe.loop, seed)

    def begin_from(self, folder: Path) -> Origin:
        """The agent has the weights of the run or policy version in `folder`.

        Raises:
            CheckpointError: there are none, or they are of another network.
        """
        found, origin = load_origin(folder)
        weights = {name: found[name] for name in self.agent.weights() if name in found}
        try:
            self.agent.load_weights(weights)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(f"--init-from {folder}: its weights are of another network ({reason})") from error
        self.loop.evaluate()  # so that what is kept at the end is no worse than what it began with
        return origin

    def close(self) -> None:
        """Close the environments."""
        self._envs.close()


def build_trainee(recipe: Recipe, seed: int, device: Device = "auto", facts: EnvironmentFacts | None = None) -> Trainee:
    """The agent, environments and loop of a recipe, a pure function of the seed; `facts` where they are known already.

    Raises:
        InvalidOption: the seed is among those kept for evaluation.
        TrainingError: the environment is unknown, or none that the agent can learn in, or does not keep to its API.
    """
    check_seed(seed, recipe.loop.n_envs)
    return Trainee(recipe, facts or inspect_for(recipe), seed, device)


def _notes(recipe: Recipe, facts: EnvironmentFacts, setup: TaskSetup) -> tuple[str, ...]:
    view = View.of(facts.observation_space)
    is_convolved = not isinstance(recipe.agent, DdpgConfig)
    said = "" if setup.preprocessing else view.statement(is_convolved=is_convolved)
    return (*facts.cautions, *facts.notes, *([said] if said else []))


def _discrete(recipe: Recipe, setup: TaskSetup, compute: Compute) -> Parts:
    """An agent that learns the values of actions."""
    envs = setup.make_envs(recipe.loop.n_envs)
    box = observation_box(envs.single_observation_space, recipe.environment.id)
    n_actions = discrete_actions(envs.single_action_space, recipe.environment.id)
    network = ValueNetwork(recipe.network, View.of(box), n_actions)
    actor = ValueActor(network, compute, setup.preprocessing)
    exploration = Exploration(recipe.exploration, n_actions)
    if isinstance(recipe.agent, PqnConfig):
        pqn = PqnAgent(recipe.agent, actor, exploration)
        return Parts(pqn, RolloutLearner(pqn), envs, setup.score, setup.score_name)
    assert isinstance(recipe.agent, DqnConfig)  # noqa: S101 - for the type checker
    dqn = DqnAgent(recipe.agent, actor, exploration)
    replay = _replay(recipe, np.zeros(box.shape, box.dtype), np.zeros((), np.int64))
    return Parts(dqn, ReplayLearner(dqn, replay, recipe.replay), envs, setup.score, setup.score_name)


def _continuous(recipe: Recipe, setup: TaskSetup, compute: Compute) -> Parts:
    """An agent that learns the actions themselves."""
    assert isinstance(recipe.agent, DdpgConfig)  # noqa: S101 - for the type checker
    envs = setup.make_envs(recipe.loop.n_envs)
    box = observation_box(envs.single_observation_space, recipe.environment.id)
    space = continuous_actions(envs.single_action_space, recipe.environment.id)
    features = setup.features or Features(int(np.prod(box.shape)), has_pixels=View.of(box).has_pixels)
    design = ActorDesign(recipe.network, space, features, setup.finishing)
    agent = DdpgAgent(recipe.agent, design, compute)
    replay = _replay(recipe, np.zeros(box.shape, box.dtype), np.zeros(space.shape, np.float32))
    return Parts(agent, ReplayLearner(agent, replay, recipe.replay), envs, setup.score, setup.score_name)


def _replay(recipe: Recipe, observation: NDArray[Any], action: NDArray[Any]) -> Replay:
    return Replay(
        recipe.replay.replay_capacity, recipe.loop.n_envs, observation, action, stack=recipe.environment.frames
    )
