"""A recipe and a seed made into an agent in its environments."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.agents.actor import ValueActor
from training.agents.agent import Agent
from training.agents.dqn import DqnAgent
from training.agents.exploration import Exploration
from training.agents.pqn import PqnAgent, PqnConfig
from training.arcade import make_screens
from training.compute import Device, choose, set_threads
from training.envs import SELECTION_FIRST_SEED, discrete_actions, make_vec, observation_box
from training.errors import CheckpointError, InvalidOption
from training.learners import Learner, ReplayLearner, RolloutLearner
from training.loop import Loop, Parts
from training.networks import ValueNetwork
from training.origin import Origin
from training.origin import load as load_origin
from training.recipe import Recipe
from training.replay import Replay
from training.screens import Screens


class Trainee:
    """An agent with its environments and its loop."""

    def __init__(self, recipe: Recipe, seed: int, device: Device = "auto") -> None:
        """Build everything from the seed alone."""
        set_threads(recipe.threads)
        torch.manual_seed(seed)
        make_envs = make_screens if recipe.is_screens else make_vec
        self._envs = make_envs(recipe.environment, recipe.loop.n_envs)
        box = observation_box(self._envs.single_observation_space, recipe.environment.id)
        n_actions = discrete_actions(self._envs.single_action_space, recipe.environment.id)
        compute = choose(device)
        self.device = compute.device
        actor = ValueActor(
            ValueNetwork(recipe.network, box.shape, n_actions),
            compute,
            Screens() if recipe.is_screens else None,
        )
        self.agent, learner = _learning(recipe, actor, np.zeros(box.shape, box.dtype))
        parts = Parts(
            agent=self.agent,
            learner=learner,
            envs=self._envs,
            make_envs=lambda n: make_envs(recipe.environment, n),
        )
        self.loop = Loop(parts, recipe.rewards, recipe.loop, seed)

    def begin_from(self, folder: Path) -> Origin:
        """The agent has the weights of the run or policy version in `folder`.

        Raises:
            CheckpointError: there are none, or they are of another network.
        """
        weights, origin = load_origin(folder)
        try:
            self.agent.load_weights(weights)
        except RuntimeError as error:
            raise CheckpointError(f"--init-from {folder}: its weights are of another network ({error})") from error
        self.loop.evaluate()  # so that what is kept at the end is no worse than what it began with
        return origin

    def close(self) -> None:
        """Close the environments."""
        self._envs.close()


def build_trainee(recipe: Recipe, seed: int, device: Device = "auto") -> Trainee:
    """The agent, environments and loop of a recipe, a pure function of the seed.

    Raises:
        InvalidOption: the seed is among those kept for evaluation.
        TrainingError: the environment is unknown, or none that the agent can learn in.
    """
    if not 0 <= seed <= SELECTION_FIRST_SEED - recipe.loop.n_envs:
        raise InvalidOption(f"seed: expected 0 to {SELECTION_FIRST_SEED - recipe.loop.n_envs}, got {seed}")
    return Trainee(recipe, seed, device)


def _learning(recipe: Recipe, actor: ValueActor, observation: NDArray[Any]) -> tuple[Agent, Learner]:
    """The agent of the recipe's algorithm, and what feeds it with steps."""
    exploration = Exploration(recipe.exploration, actor.network.n_actions)
    if isinstance(recipe.agent, PqnConfig):
        pqn = PqnAgent(recipe.agent, actor, exploration)
        return pqn, RolloutLearner(pqn)
    replay = Replay(
        recipe.replay.replay_capacity,
        recipe.loop.n_envs,
        observation,
        np.zeros((), np.int64),
        stack=recipe.environment.frames,
    )
    dqn = DqnAgent(recipe.agent, actor, exploration)
    return dqn, ReplayLearner(dqn, replay, recipe.replay)
