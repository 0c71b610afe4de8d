"""A recipe and a seed made into an agent in its environments."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray

from polserve.training.environments.inspection import EnvironmentFacts
from polserve.training.environments.making import VecEnv
from polserve.training.environments.one import OneEnv
from polserve.training.environments.spaces import continuous_actions, discrete_actions, observation_box
from polserve.training.environments.transforms import Transform, standardising
from polserve.training.learning.actor_critic_hyperparameters import DdpgConfig, SacConfig
from polserve.training.learning.agents.actor import ValueActor
from polserve.training.learning.agents.actor_critic import ActorDesign, Features
from polserve.training.learning.agents.ddpg import DdpgAgent
from polserve.training.learning.agents.dqn import DqnAgent
from polserve.training.learning.agents.exploration import Exploration
from polserve.training.learning.agents.pqn import PqnAgent
from polserve.training.learning.agents.sac import SacAgent
from polserve.training.learning.compute import Compute, Device, choose, set_threads
from polserve.training.learning.encoding import Encoding
from polserve.training.learning.graph_wrappers import GraphWrappers
from polserve.training.learning.hyperparameters import DqnConfig, PqnConfig
from polserve.training.learning.loop import Loop, LoopParts
from polserve.training.learning.networks import ValueNetwork
from polserve.training.learning.progress import Progress, TrainingResult
from polserve.training.learning.replay import Replay
from polserve.training.learning.return_scale import LARGE, LARGE_FOR_PQN, ReturnScale
from polserve.training.learning.return_spread import ReturnSpread
from polserve.training.learning.reward_signal import RewardSignal
from polserve.training.learning.rewards import Factor, unchanged
from polserve.training.learning.scores import SelectionGames
from polserve.training.learning.streams import Streams
from polserve.training.learning.updates import ReplayLearner, TrajectoryLearner
from polserve.training.learning.views import View
from polserve.training.runs.initial_weights import InitialWeights, check_fits, read_weights_of
from polserve.training.runs.preflight import check_seed, inspect_for
from polserve.training.runs.recipe import Recipe
from polserve.training.tasks.task import TaskSetup

_BUILDING = Lock()
"""Held while networks draw their first weights from torch's generator, which all threads share."""


def _hear_nothing(_over: float) -> None:
    """Leave unheard how far an evaluation is."""


class Trainee:
    """An agent with its environments and its loop."""

    def __init__(self, recipe: Recipe, facts: EnvironmentFacts, seed: int, device: Device = "auto") -> None:
        """Build everything from the seed alone."""
        self.facts = facts
        """What the environment showed."""
        self.environment = replace(recipe.environment, graph_wrappers=facts.graph_wrappers, frames=facts.frames)
        """The environment as the policy is to play it."""
        recipe = replace(recipe, environment=self.environment)
        loop = recipe.loop
        self.streams = Streams(seed)
        """Where the run's random numbers come from."""
        self._hear_games: Callable[[float], None] = _hear_nothing
        games = SelectionGames(
            self.streams.first_selection_seed,
            loop.selection_episodes,
            loop.max_evaluation_steps,
            report=self._report_games,
            envs=loop.most_evaluation_envs,
        )
        self.setup = recipe.task.set_up(recipe.environment, games)
        """What the task brings to this run."""
        self.view = _view(facts)
        """How a network sees its observations, where no task says something else."""
        self.notes = _notes(recipe, facts, self.setup)
        """What a person should know of the environment before hours are spent in it, a sentence each."""
        self._threads_before = torch.get_num_threads()
        set_threads(recipe.threads)
        compute = choose(device)
        self.device = compute.device
        parts = _build_parts(recipe, facts, self.setup, compute, self.streams.network_seed)
        self._envs = parts.envs
        self.agent = parts.agent
        self.loop = Loop(parts, recipe.rewards, loop, self.streams)
        self._before_s = 0.0
        self._started: float | None = None

    def train(
        self,
        watch: Callable[[Progress], None] = lambda _: None,
        should_stop: Callable[[], bool] = lambda: False,
        hear_games: Callable[[float], None] = _hear_nothing,
    ) -> TrainingResult:
        """Learn to the end, or until `should_stop` says so; `watch` is told where training stands after each step.

        `hear_games` is told in a greedy evaluation how many of its games are over.

        Raises:
            TrainingDiverged: no score was a number.
        """
        self._started, self._hear_games = time.monotonic(), hear_games
        for progress in self.loop.run(should_stop):
            watch(progress)
        return replace(self.loop.result(), elapsed_s=self.elapsed_s)

    def _report_games(self, over: float) -> None:
        self._hear_games(over)

    @property
    def elapsed_s(self) -> float:
        """Time of training, with that of the run that it was resumed from."""
        return self._before_s + (0.0 if self._started is None else time.monotonic() - self._started)

    def begin_from(self, folder: Path, hear_games: Callable[[float], None] = _hear_nothing) -> InitialWeights:
        """Give the agent the weights of the run or policy version in `folder`, and evaluate them; see `train`.

        Raises:
            CheckpointError: there are none, or they are of another network.
        """
        found, initial = read_weights_of(folder)
        ours = self.agent.weights()
        check_fits(folder, found, ours)
        self.agent.load_weights({name: found[name] for name in ours})
        self.loop.keep_reward_factor(initial.reward_factor)  # else their values would be of another size
        self._hear_games = hear_games
        self.loop.evaluate()  # so that what is kept at the end is no worse than what it began with
        return initial

    def state(self) -> dict[str, Any]:
        """Everything that `load_state` needs to go on."""
        return {"loop": self.loop.state(), "elapsed_s": self.elapsed_s}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave; raises CheckpointError where that does not fit."""
        self.loop.load_state(state["loop"])
        self._before_s = state["elapsed_s"]

    def close(self) -> None:
        """Close the environments, and let torch compute with as many threads as before."""
        self._envs.close()
        torch.set_num_threads(self._threads_before)


def build_trainee(recipe: Recipe, seed: int, device: Device = "auto", facts: EnvironmentFacts | None = None) -> Trainee:
    """Build the agent, environments and loop of a recipe by the seed alone; `facts` where they are known already.

    Raises:
        InvalidOption: the seed is negative or too large.
        TrainingError: the environment is unknown, or none that the agent can learn in, or does not keep to its API.
    """
    check_seed(seed)
    return Trainee(recipe, facts or inspect_for(recipe), seed, device)


def _view(facts: EnvironmentFacts) -> View:
    return View.of(facts.learned_space or facts.observation_space, frames=facts.frames)


def _notes(recipe: Recipe, facts: EnvironmentFacts, setup: TaskSetup) -> tuple[str, ...]:
    view = _view(facts)
    of_view = (view.statement(is_convolved=not recipe.is_continuous), view.doubt(facts.highest_met))
    said = () if setup.preprocessing else tuple(filter(None, of_view))
    return (*facts.cautions, *facts.notes, *setup.notes, *said)


def _build_parts(recipe: Recipe, facts: EnvironmentFacts, setup: TaskSetup, compute: Compute, seed: int) -> LoopParts:
    """Build what a loop works with, and leave torch's own generator as it was."""
    spread = _spread(recipe)
    factor = partial(getattr, spread, "factor") if isinstance(spread, ReturnScale) else unchanged
    make_parts = _continuous if recipe.is_continuous else partial(_discrete, reward_factor=factor)
    wrappers = GraphWrappers((*facts.transforms, *_standardising(recipe, facts, setup)))
    with _BUILDING, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # networks draw on the CPU, and move to the device then
        parts = make_parts(
            recipe,
            setup,
            compute,
            _Observed(wrappers, facts.learned_space, facts.frames, Encoding.of(facts, recipe.environment.id)),
        )
    is_stacked = recipe.environment.frames > 0
    signal = RewardSignal() if recipe.exploration.waits_for_signal and not recipe.is_continuous else None
    return replace(
        parts, spread=spread, signal=signal, observe=lambda seen: wrappers.observe(seen[:, -1] if is_stacked else seen)
    )


def _spread(recipe: Recipe) -> ReturnSpread | ReturnScale | None:
    """Make what scales rewards by the size of returns, as the recipe has it."""
    scaling, n_envs, discount = recipe.rewards.scale_by_returns, recipe.loop.n_envs, recipe.agent.discount
    if scaling == "auto":
        return ReturnScale(n_envs, discount, LARGE_FOR_PQN if isinstance(recipe.agent, PqnConfig) else LARGE)
    return ReturnSpread(n_envs, discount) if scaling else None


def _standardising(recipe: Recipe, facts: EnvironmentFacts, setup: TaskSetup) -> tuple[Transform, ...]:
    """Make what standardises the numbers of observations, where that is wanted and no task knows what they are."""
    is_the_tasks = bool(setup.preprocessing or setup.features or setup.make_network)
    if not recipe.network.standardise or is_the_tasks:
        return ()
    box = facts.learned_space or facts.observation_space
    shape = box.shape[1:] if recipe.environment.frames else box.shape
    encoding = Encoding.of(facts, recipe.environment.id)
    if encoding is not None:
        is_number = encoding.is_number.reshape(shape)
        return standardising(shape, is_number) if is_number.any() else ()
    view = _view(facts)
    return standardising(shape) if view.channels is None and view.highest is None else ()


def _make_envs(recipe: Recipe, setup: TaskSetup) -> VecEnv:
    """Make the environments to learn in."""
    return OneEnv(setup.make_envs) if recipe.loop.has_one_env else setup.make_envs(recipe.loop.n_envs)


@dataclass(frozen=True, slots=True)
class _Observed:
    """What a network does to the environments' observations before it learns from them."""

    wrappers: GraphWrappers
    learned_space: Box | None
    """Observations as the wrappers make them; None where there are none."""
    frames: int
    """Length of the stack that an observation is, 0 for none."""
    encoding: Encoding | None

    def view(self, emitted: Box) -> View:
        """View of what the network learns from, where the environments emit observations of that space."""
        return View.of(self.learned_space or emitted, frames=self.frames)


def _discrete(
    recipe: Recipe, setup: TaskSetup, compute: Compute, observed: _Observed, reward_factor: Factor
) -> LoopParts:
    """Build an agent that learns the values of actions."""
    envs = _make_envs(recipe, setup)
    box = observation_box(envs.single_observation_space, recipe.environment.id)
    space = discrete_actions(envs.single_action_space, recipe.environment.id)
    n_actions, start = int(space.n), int(space.start)
    make_network = setup.make_network or partial(
        ValueNetwork,
        observation=observed.view(box),
        n_actions=n_actions,
        encoding=observed.encoding,
        wrappers=observed.wrappers,
    )
    network = make_network(recipe.network)
    actor = ValueActor(network, compute, setup.preprocessing, start, setup.widening, reward_factor)
    exploration = Exploration(recipe.exploration, n_actions, start)
    if isinstance(recipe.agent, PqnConfig):
        pqn = PqnAgent(recipe.agent, actor, exploration)
        return LoopParts(pqn, TrajectoryLearner(pqn), envs, setup.score, setup.score_name)
    assert isinstance(recipe.agent, DqnConfig)  # noqa: S101 - for the type checker
    dqn = DqnAgent(recipe.agent, actor, exploration)
    replay = _replay(recipe, np.zeros(box.shape, box.dtype), np.zeros((), np.int64))
    return LoopParts(dqn, ReplayLearner(dqn, replay, recipe.replay), envs, setup.score, setup.score_name)


def _continuous(recipe: Recipe, setup: TaskSetup, compute: Compute, observed: _Observed) -> LoopParts:
    """Build an agent that learns the actions themselves."""
    envs = _make_envs(recipe, setup)
    box = observation_box(envs.single_observation_space, recipe.environment.id)
    space = continuous_actions(envs.single_action_space, recipe.environment.id)
    view = observed.view(box)
    features = setup.features or Features(
        prod(view.shape), highest=view.highest, encoding=observed.encoding, wrappers=observed.wrappers
    )
    design = ActorDesign(recipe.network, space, features, setup.finishing)
    agent: DdpgAgent | SacAgent
    if isinstance(recipe.agent, SacConfig):
        agent = SacAgent(recipe.agent, design, compute)
    else:
        assert isinstance(recipe.agent, DdpgConfig)  # noqa: S101 - for the type checker
        agent = DdpgAgent(recipe.agent, design, compute)
    replay = _replay(recipe, np.zeros(box.shape, box.dtype), np.zeros(space.shape, np.float32))
    return LoopParts(agent, ReplayLearner(agent, replay, recipe.replay), envs, setup.score, setup.score_name)


def _replay(recipe: Recipe, observation: NDArray[Any], action: NDArray[Any]) -> Replay:
    frames = recipe.environment.frames
    stack = frames if observation.shape[:1] == (frames,) else 0  # a task may learn from something else than the stack
    return Replay(recipe.replay.replay_capacity, recipe.loop.n_envs, observation, action, stack=stack)
