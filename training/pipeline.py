"""A whole run: train, evaluate, export, register."""

import contextlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from protos.names import POLICY_NAME
from training import checkpoint
from training.agents.dqn import DqnAgent
from training.envs import EVALUATION_FIRST_SEED, SELECTION_FIRST_SEED, discrete_actions, make_vec, observation_box
from training.errors import CheckpointError, InvalidOption
from training.evaluate import ObservationSample, play_episodes, random_policy
from training.export import PolicyVersion, export_policy
from training.loop import Loop, Outcome, Parts, Progress
from training.presets import Recipe
from training.progress import ProgressDisplay
from training.provenance import git_commit, provenance
from training.registry.store import connect
from training.registry.tracking import TrackedRun
from training.registry.versions import PolicyRegistry, VersionName
from training.replay import Replay
from training.report import EvaluationResult, write_report
from training.specs import TrainedPolicy, build_spec
from training.statistics import summarise

EVALUATION_EPISODES = 100
GOLDEN_SIZE = 256
EXPERIMENT = "polserve"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is carried out; none of it changes what is learned."""

    folder: Path
    """Of the checkpoint."""
    is_resumed: bool
    is_registered: bool
    """Whether a version is registered at the end."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run left; `version` is None when it was interrupted or not to be registered."""

    outcome: Outcome
    run_id: str
    evaluation: EvaluationResult | None
    version: str | None
    is_champion: bool = False
    """Whether the version is @champion."""


def train_policy(
    recipe: Recipe, seed: int, options: RunOptions, console: Console, should_stop: Callable[[], bool]
) -> RunResult:
    """Train by the recipe, and unless asked to stop, evaluate, export and register.

    Raises:
        TrainingError: something that the user can mend.
    """
    if not POLICY_NAME.fullmatch(recipe.policy):
        raise InvalidOption(f"name: expected letters, digits, '-', '_' and '.', got {recipe.policy!r}")
    trainee = build_trainee(recipe, seed)
    checkpoint.prepare(options.folder)
    saved = checkpoint.load(options.folder) if options.is_resumed else None
    client = connect()
    if saved is not None:
        _check_same_run(saved["identity"], _identity(recipe, seed))
        trainee.loop.load_state(saved["loop"])
        run = TrackedRun(client, saved["run_id"])
    else:
        run = TrackedRun.start(client, EXPERIMENT, f"{recipe.policy}-seed{seed}", _tags(recipe, seed))
        run.log_params({**recipe.params(), "seed": seed})
    with run, contextlib.closing(trainee):
        with ProgressDisplay(recipe.policy, console) as display:
            monitor = _Monitor(display, run, options.folder, _identity(recipe, seed))
            outcome = trainee.loop.run(monitor, should_stop)
        if not outcome.is_complete:
            run.interrupt()
            return RunResult(outcome, run.run_id, None, None)
        console.print(f"trained {outcome.step:,} steps in {outcome.elapsed_s:.0f} s; evaluating and exporting")
        trainee.agent.load_weights(outcome.weights)
        evaluation, version = finish(recipe, seed, trainee.agent, outcome, run.run_id)
        with tempfile.TemporaryDirectory() as folder:
            write_report(Path(folder), outcome, evaluation)
            run.log_files(Path(folder))
        run.log_metrics(
            {"evaluation/mean": evaluation.summary.mean, "evaluation/iqm": evaluation.summary.iqm}, outcome.step
        )
        if not options.is_registered:
            return RunResult(outcome, run.run_id, evaluation, None)
        registry = PolicyRegistry(client)
        number = registry.register(version, run.run_id)
        is_champion = registry.resolve(VersionName(recipe.policy)) == number
    return RunResult(outcome, run.run_id, evaluation, number, is_champion)


class Trainee:
    """An agent with its environments and its loop."""

    def __init__(self, recipe: Recipe, seed: int) -> None:
        """Build everything from the seed alone."""
        torch.set_num_threads(recipe.threads)
        torch.manual_seed(seed)
        self._envs = make_vec(recipe.environment, recipe.loop.n_envs)
        box = observation_box(self._envs.single_observation_space, recipe.environment.id)
        n_actions = discrete_actions(self._envs.single_action_space, recipe.environment.id)
        self.agent = DqnAgent(recipe.agent, box.shape, n_actions)
        replay = Replay(
            recipe.loop.replay_capacity, recipe.loop.n_envs, np.zeros(box.shape, box.dtype), np.zeros((), np.int64)
        )
        self.loop = Loop(Parts(self.agent, self._envs, replay), recipe.environment, recipe.loop, seed)

    def close(self) -> None:
        """Close the environments."""
        self._envs.close()


def build_trainee(recipe: Recipe, seed: int) -> Trainee:
    """The agent, environments and loop of a recipe, a pure function of the seed.

    Raises:
        InvalidOption: the seed is among those kept for evaluation.
        TrainingError: the environment is unknown, or none that the agent can learn in.
    """
    if not 0 <= seed <= SELECTION_FIRST_SEED - recipe.loop.n_envs:
        raise InvalidOption(f"seed: expected 0 to {SELECTION_FIRST_SEED - recipe.loop.n_envs}, got {seed}")
    return Trainee(recipe, seed)


def finish(
    recipe: Recipe, seed: int, agent: DqnAgent, outcome: Outcome, run_id: str
) -> tuple[EvaluationResult, PolicyVersion]:
    """The evaluation of the trained agent beside the random policy, and its policy version."""
    sample = ObservationSample(agent.greedy, GOLDEN_SIZE, np.random.default_rng(seed))
    evaluation = evaluate_policy(recipe, sample)
    spec = build_spec(
        TrainedPolicy(
            name=recipe.policy,
            algorithm=agent.algorithm,
            environment=recipe.environment,
            provenance=provenance(run_id, seed, outcome.step),
            evaluation=evaluation.summary,
            random_mean=evaluation.random_summary.mean,
        )
    )
    return evaluation, export_policy(agent.policy(), spec, sample.observations())


def evaluate_policy(recipe: Recipe, choose_actions: ObservationSample) -> EvaluationResult:
    """Whole episodes of the policy and of the random one on the evaluation seeds."""
    environment = recipe.environment
    played = play_episodes(choose_actions, environment, EVALUATION_EPISODES, EVALUATION_FIRST_SEED)
    at_random = play_episodes(random_policy(environment, 0), environment, EVALUATION_EPISODES, EVALUATION_FIRST_SEED)
    returns = [episode.episode_return for episode in played]
    random_returns = [episode.episode_return for episode in at_random]
    return EvaluationResult(
        policy=recipe.policy,
        environment=environment.id,
        returns=returns,
        random_returns=random_returns,
        summary=summarise(returns),
        random_summary=summarise(random_returns),
    )


class _Monitor:
    """Passes progress on to the display and the run, and saves checkpoints."""

    def __init__(self, display: ProgressDisplay, run: TrackedRun, folder: Path, identity: Mapping[str, str]) -> None:
        self._display = display
        self._run = run
        self._folder = folder
        self._identity = identity

    def report(self, progress: Progress, metrics: Mapping[str, float]) -> None:
        self._display.show(progress)
        self._run.log_metrics(metrics, progress.step)

    def save(self, state: Mapping[str, Any]) -> None:
        checkpoint.save(self._folder, {"loop": state, "run_id": self._run.run_id, "identity": self._identity})


def _tags(recipe: Recipe, seed: int) -> dict[str, str]:
    return {
        "policy": recipe.policy,
        "env_id": recipe.environment.id,
        "algo": "dqn",
        "seed": str(seed),
        "git_commit": git_commit(),
    }


def _identity(recipe: Recipe, seed: int) -> dict[str, str]:
    """What must be the same for a run to be resumed, by name: everything but how long it goes on."""
    settings = {
        "environment": recipe.environment.id,
        "environment_kwargs": recipe.environment.kwargs_json,
        "n_envs": recipe.loop.n_envs,
        "seed": seed,
        **asdict(recipe.agent),
    }
    return {name: str(value) for name, value in settings.items()}


def _check_same_run(saved: Mapping[str, str], ours: Mapping[str, str]) -> None:
    """Raise CheckpointError where the checkpoint is of a run with other settings."""
    differences = [
        f"{name} was {saved.get(name, 'absent')} and is {ours.get(name, 'absent')}"
        for name in sorted(saved.keys() | ours.keys())
        if saved.get(name) != ours.get(name)
    ]
    if differences:
        raise CheckpointError(
            f"the checkpoint is of another run: {'; '.join(differences)}; "
            "resume with the settings that the run was started with, or start anew without --resume"
        )
