"""A whole run: train, evaluate, export, register."""

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.names import MIN_GOLDEN
from polserve.training.environments.inspection import EnvironmentFacts
from polserve.training.environments.making import EVALUATION_FIRST_SEED
from polserve.training.errors import CheckpointError, RegistryError
from polserve.training.evaluation.episodes import ObservationSample, cut_off, greedy, play_episodes, random_policy
from polserve.training.evaluation.statistics import summarise
from polserve.training.learning.compute import Device
from polserve.training.learning.interrupts import Interrupted, InterruptFlag, interruptible
from polserve.training.learning.loop import Outcome, Progress
from polserve.training.registry.pages import run_page
from polserve.training.registry.store import connect
from polserve.training.registry.tracking import TrackedRun
from polserve.training.registry.version_names import VersionName
from polserve.training.registry.versions import PolicyRegistry
from polserve.training.runs import checkpoint
from polserve.training.runs import folder as run_folder
from polserve.training.runs.identity import check_same_run, identity_of
from polserve.training.runs.initial_weights import Origin
from polserve.training.runs.preflight import Beginning, check_beginning
from polserve.training.runs.progress import ProgressDisplay
from polserve.training.runs.recipe import Recipe
from polserve.training.runs.report import EvaluationResult
from polserve.training.runs.results import Results
from polserve.training.runs.stages import Stages, counted
from polserve.training.runs.trainee import Trainee, build_trainee
from polserve.training.versions.export import export_policy
from polserve.training.versions.provenance import describe_run, git_commit, machine
from polserve.training.versions.specs import TrainedPolicy, build_spec
from polserve.training.versions.version import PolicyVersion

EXPERIMENT = "polserve"
REPORT = "report"
"""Folder, in a run's, of what it leaves for people."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is carried out; none of it changes what is learned."""

    folder: Path
    """Of the checkpoint."""
    is_resumed: bool
    is_registered: bool
    """Whether a version is registered at the end."""
    device: Device = "auto"
    init_from: Path | None = None
    """Folder of a run or a policy version whose weights to begin with."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run left; `version` is None when it was interrupted or not to be registered."""

    outcome: Outcome
    run_id: str
    evaluation: EvaluationResult | None
    version: str | None
    is_champion: bool = False
    """Whether the version is @champion."""
    page: str = ""
    """Where MLflow shows the run."""


def train_policy(
    recipe: Recipe, seed: int, options: RunOptions, console: Console, facts: EnvironmentFacts | None = None
) -> RunResult:
    """Train by the recipe, and unless interrupted, evaluate, export and register.

    A checkpoint that another run left in the folder is renamed, and not overwritten.

    Raises:
        TrainingError: something that the user can mend.
    """
    check_beginning(recipe, Beginning(options.folder, options.is_resumed, options.init_from))
    trainee = build_trainee(recipe, seed, options.device, facts)
    _print_notes(trainee, console)
    saved = checkpoint.load(options.folder) if options.is_resumed else None
    client = connect()
    if saved is not None:
        check_same_run(saved["identity"], identity_of(recipe, seed))
        trainee.loop.load_state(saved["loop"])
        origin = Origin(**saved["origin"])
        run = TrackedRun(client, saved["run_id"])
    else:
        origin = trainee.begin_from(options.init_from) if options.init_from else Origin()
        tags = _tags(recipe, seed, trainee, origin)
        run = TrackedRun.start(client, EXPERIMENT, f"{recipe.policy}-seed{seed}", tags)
        if aside := run_folder.set_aside(options.folder):
            console.print(f"another run's checkpoint was there: it is {aside} now; --resume would have gone on with it")
        run.log_params({**recipe.params(), "seed": seed})
    provenance = _provenance(recipe, seed, run.run_id, origin, trainee.device)  # of the code that this process runs
    with _resumable(options.folder), run, contextlib.closing(trainee):
        with InterruptFlag() as is_interrupted:
            with ProgressDisplay(recipe.policy, console) as display:
                identity = {"identity": identity_of(recipe, seed), "origin": asdict(origin)}
                monitor = _Monitor(display, run, options.folder, identity, console)
                outcome = trainee.loop.run(monitor, is_interrupted)
            stages = Stages(console)
            finished = _finished(recipe, trainee, outcome, provenance, is_interrupted, stages, console)
        if finished is None:
            run.interrupt()
            if monitor.unsaved:
                raise monitor.unsaved
            return RunResult(outcome, run.run_id, None, None)
        evaluation, version = finished
        results = Results(trainee.agent, outcome, evaluation, trainee.setup.write_report)
        with tempfile.TemporaryDirectory() as folder:
            run.log_metrics(results.write(Path(folder), stages), outcome.step)
            shutil.copytree(folder, options.folder / REPORT, dirs_exist_ok=True)
            run.log_files(Path(folder))
        page = run_page(client, run.run_id)
        if not options.is_registered:
            return RunResult(outcome, run.run_id, evaluation, None, page=page)
        with stages.stage("registering the version"):
            registry = PolicyRegistry(client)
            number = registry.register(version, run.run_id)
            is_champion = registry.resolve(VersionName(recipe.policy)) == number
    return RunResult(outcome, run.run_id, evaluation, number, is_champion, page)


def _print_notes(trainee: Trainee, console: Console) -> None:
    for note in trainee.notes:
        console.print(f"note: {note}")


def _finished(  # noqa: PLR0913, PLR0917 - the parts of a run
    recipe: Recipe,
    trainee: Trainee,
    outcome: Outcome,
    provenance: pb.Provenance,
    should_stop: Callable[[], bool],
    stages: Stages,
    console: Console,
) -> tuple[EvaluationResult, PolicyVersion] | None:
    """As `finish`; None where training or the evaluation was interrupted."""
    if not outcome.is_complete:
        return None
    console.print(f"trained {outcome.step:,} steps in {outcome.elapsed_s:.0f} s")
    trainee.agent.load_weights(outcome.weights)
    try:
        evaluation, version = finish(recipe, trainee, outcome, provenance, stages=stages, should_stop=should_stop)
    except Interrupted:
        return None
    if evaluation.cut_off:
        console.print(f"warning: {evaluation.cut_off}")
    return evaluation, version


def finish(  # noqa: PLR0913 - the parts of a run, and who waits
    recipe: Recipe,
    trainee: Trainee,
    outcome: Outcome,
    provenance: pb.Provenance,
    *,
    stages: Stages,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[EvaluationResult, PolicyVersion]:
    """The evaluation of the trained agent beside the random policy, and its policy version.

    Raises:
        Interrupted: `should_stop` said so in the evaluation.
    """
    policy = trainee.agent.policy()
    acting = interruptible(greedy(policy), should_stop)
    sample = ObservationSample(acting, trainee.setup.golden_size, np.random.default_rng(provenance.seed))
    evaluation = evaluate_policy(recipe, sample, stages, should_stop)
    if missing := max(0, MIN_GOLDEN - len(sample.observations())):  # where few episodes are short
        first_seed = EVALUATION_FIRST_SEED + recipe.loop.evaluation_episodes
        play_episodes(sample, recipe.environment, missing, first_seed, recipe.loop.max_evaluation_steps)
    provenance.environment_steps += outcome.step
    provenance.training_hours += outcome.elapsed_s / 3600
    spec = build_spec(
        TrainedPolicy(
            name=recipe.policy,
            algorithm=trainee.agent.algorithm,
            environment=recipe.environment,
            facts=trainee.facts,
            provenance=provenance,
            evaluation=evaluation.summary,
            random_mean=evaluation.random_summary.mean,
        )
    )
    with stages.stage("exporting, and checking the graph"):
        return evaluation, export_policy(policy, spec, sample.observations())


def evaluate_policy(
    recipe: Recipe,
    choose_actions: ObservationSample,
    stages: Stages,
    should_stop: Callable[[], bool] = lambda: False,
) -> EvaluationResult:
    """Whole episodes of the policy and of the random one on the evaluation seeds."""
    environment, loop = recipe.environment, recipe.loop
    episodes, max_steps = loop.evaluation_episodes, loop.max_evaluation_steps
    by_chance = interruptible(random_policy(environment, 0), should_stop)
    with stages.stage(f"playing {2 * episodes:,} evaluation episodes", 2 * episodes) as stage:
        played, at_random = (
            play_episodes(
                player, environment, episodes, EVALUATION_FIRST_SEED, max_steps, report=counted(stage, before)
            )
            for player, before in ((choose_actions, 0), (by_chance, episodes))
        )
    returns = [episode.episode_return for episode in played]
    random_returns = [episode.episode_return for episode in at_random]
    return EvaluationResult(
        policy=recipe.policy,
        environment=environment.id,
        returns=returns,
        random_returns=random_returns,
        summary=summarise(returns),
        random_summary=summarise(random_returns),
        cut_off=cut_off(played, loop.max_evaluation_steps, "--set max_evaluation_steps=N lets them go on"),
        published=recipe.task.published_scores(environment.id),
    )


@contextlib.contextmanager
def _resumable(folder: Path) -> Iterator[None]:
    """Where the registry fails after training, or the user stops, it is said that what was learned is saved."""
    try:
        yield
    except RegistryError as error:
        hint = f"what was learned is saved in {folder}: once this is mended, give the same command with --resume"
        raise RegistryError(f"{error}; {hint}") from error
    except KeyboardInterrupt:
        sys.stderr.write(f"\nstopped; what was learned is saved in {folder}: --resume goes on from there\n")
        raise


class _Monitor:
    """Passes progress on to the display and the run, and saves checkpoints."""

    def __init__(
        self, display: ProgressDisplay, run: TrackedRun, folder: Path, identity: Mapping[str, Any], console: Console
    ) -> None:
        self.unsaved: CheckpointError | None = None
        """Why the latest checkpoint was not saved; None where it was."""
        self._display = display
        self._run = run
        self._folder = folder
        self._identity = identity
        self._console = console

    def report(self, progress: Progress, metrics: Mapping[str, float]) -> None:
        """Show and log; what MLflow does not take now is sent with the next report."""
        self._display.show(progress)
        try:
            self._run.log_metrics(metrics, progress.step)
        except RegistryError as error:
            self._console.print(f"warning: {error}; training goes on")

    def save(self, state: Mapping[str, Any]) -> None:
        """Save a checkpoint; hours of training do not end because one could not be."""
        try:
            checkpoint.save(self._folder, {"loop": state, "run_id": self._run.run_id, **self._identity})
            self.unsaved = None
        except CheckpointError as error:
            self.unsaved = error
            self._console.print(f"warning: {error}; training goes on")


def _provenance(recipe: Recipe, seed: int, run_id: str, origin: Origin, device: torch.device) -> pb.Provenance:
    provenance = describe_run(run_id, seed, recipe.params(), device)
    provenance.initial_weights = origin.initial_weights
    provenance.environment_steps, provenance.training_hours = origin.environment_steps, origin.hours
    return provenance


def _tags(recipe: Recipe, seed: int, trainee: Trainee, origin: Origin) -> dict[str, str]:
    return {
        "policy": recipe.policy,
        "env_id": recipe.environment.id,
        "algo": trainee.agent.algorithm,
        "seed": str(seed),
        "git_commit": git_commit(),
        "machine": machine(trainee.device),
        "init_from": origin.initial_weights,
    }
