"""A whole run: begin, learn, publish."""

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from polserve.protos.shared.names import MODEL_FILE
from polserve.protos.shared.version_names import VersionName
from polserve.training.environments.inspection import EnvironmentFacts
from polserve.training.errors import RegistryError
from polserve.training.evaluation.evaluation import Evaluation
from polserve.training.learning.interrupts import Interrupted, InterruptFlag
from polserve.training.learning.progress import TrainingResult
from polserve.training.runs import curve
from polserve.training.runs import folder as run_folder
from polserve.training.runs.beginning import Run, RunOptions, begin
from polserve.training.runs.doubts import doubt, scale_note
from polserve.training.runs.evaluating import Trained, make_version
from polserve.training.runs.monitor import Monitor
from polserve.training.runs.progress import ProgressDisplay
from polserve.training.runs.recipe import Recipe
from polserve.training.runs.report import write_report
from polserve.training.runs.stages import Stages
from polserve.training.tasks.task import ReportRequest
from polserve.training.versions.onnx_policy import OnnxPolicy
from polserve.training.versions.version import PolicyVersion

REPORT = "report"
"""Folder, in a run's, of what it leaves for people."""


@dataclass(frozen=True, slots=True)
class Learned:
    """A run that ended its training and was evaluated."""

    result: TrainingResult
    evaluation: Evaluation
    version: PolicyVersion


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run left; `version` is None when it was interrupted or not to be registered."""

    training: TrainingResult
    run_id: str
    evaluation: Evaluation | None
    version: str | None
    is_champion: bool = False
    """Whether the version is @champion."""
    page: str = ""
    """Where MLflow shows the run."""
    registered_before: str | None = None
    """The version that was registered of this run before, where nothing was left to learn; None for none."""


def train_policy(
    recipe: Recipe, seed: int, options: RunOptions, console: Console, facts: EnvironmentFacts | None = None
) -> RunResult:
    """Train by the recipe, and unless interrupted, evaluate, export and register.

    Raises:
        TrainingError: something that the user can mend.
    """
    with run_folder.locked(options.folder):
        run = begin(recipe, seed, options, console, facts)
        with resumable(options.folder), run.tracked, contextlib.closing(run.trainee):
            if run.is_finished and options.is_registered and (before := _registered_before(run)):
                return RunResult(run.trainee.loop.result(), run.tracked.run_id, None, None, registered_before=before)
            with InterruptFlag() as is_interrupted:
                learned = learn(run, console, is_interrupted)
            if isinstance(learned, TrainingResult):
                run.tracked.interrupt()
                return RunResult(learned, run.tracked.run_id, None, None)
            return publish(run, learned, Stages(console))


def learn(run: Run, console: Console, should_stop: Callable[[], bool] = lambda: False) -> Learned | TrainingResult:
    """Train, evaluate and export; the training's result alone where `should_stop` ended it before.

    Raises:
        TrainingDiverged: no score was a number.
        CheckpointError: it was stopped, and what was learned could not be saved.
    """
    with (
        ProgressDisplay(run.recipe.policy, console) as display,
        Monitor(run, display, console) as monitor,
    ):
        result = run.trainee.train(monitor.watch, should_stop, monitor.hear_games)
    if result.is_complete:
        evaluated = f"evaluated on {result.selection_steps:,}"
        console.print(f"learned from {result.step:,} steps, {evaluated}, in {result.elapsed_s:.0f} s")
        if said := scale_note(result.reward_factor):
            console.print(f"note: {said}")
        trained = Trained(run.recipe, run.trainee, result, run.provenance)
        with contextlib.suppress(Interrupted):
            with _evaluable(run, console, monitor):
                evaluation, version = make_version(trained, Stages(console), should_stop)
            if evaluation.cut_off:
                console.print(f"warning: {evaluation.cut_off}")
            if said := doubt(run.recipe, result, evaluation):
                console.print(f"warning: {said}")
            return Learned(result, evaluation, version)
    if monitor.unsaved:
        raise monitor.unsaved
    return result


def publish(run: Run, learned: Learned, stages: Stages) -> RunResult:
    """Write and log the report, and register the version where that was asked for."""
    evaluation, result = learned.evaluation, learned.result
    with tempfile.TemporaryDirectory() as folder:
        figures = _write_reports(run, learned, Path(folder), stages)
        shutil.copytree(folder, run.options.folder / REPORT, dirs_exist_ok=True)  # before a registry that may be down
        run.tracked.log_metrics(figures, result.step)
        run.tracked.log_files(Path(folder))
    run_id = run.tracked.run_id
    if not run.options.is_registered:
        return RunResult(result, run_id, evaluation, None, page=run.page)
    with stages.stage("registering the version"):
        number = run.registry.register(learned.version, run_id, run.options.sign_key)
        is_champion = run.registry.resolve(VersionName(run.recipe.policy)) == number
    return RunResult(result, run_id, evaluation, number, is_champion, run.page)


def _registered_before(run: Run) -> str | None:
    """Return the newest version of the policy that is of this run and of the step where it stands; None for none."""
    policy, steps = run.recipe.policy, run.initial.environment_steps + run.trainee.loop.step
    number = run.registry.newest_of_run(policy, run.tracked.run_id)
    if number is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        graph = run.registry.download(policy, number, Path(folder)) / MODEL_FILE
        return number if OnnxPolicy(graph).spec.provenance.environment_steps == steps else None


def _write_reports(run: Run, learned: Learned, folder: Path, stages: Stages) -> dict[str, float]:
    """Write plots and tables into `folder`, and those of the task; return the figures by metric path."""
    evaluation = learned.evaluation
    with stages.stage("drawing the learning curve and the returns"):
        write_report(folder, learned.result, evaluation)
        shutil.copy(run.options.folder / curve.FILE_NAME, folder)
    request = ReportRequest(evaluation.policy, run.trainee.agent.policy(), len(evaluation.returns), folder)
    return evaluation.metrics | run.trainee.setup.write_report(request, stages)


@contextlib.contextmanager
def _evaluable(run: Run, console: Console, monitor: Monitor) -> Iterator[None]:
    """Say that what was learned is saved, where its evaluation or its export fails."""
    try:
        yield
    except Interrupted:
        raise
    except Exception:
        if monitor.unsaved is None:
            console.print(
                f"note: what was learned is saved in {run.options.folder}: once this is mended, --resume evaluates it "
                "and learns nothing anew"
            )
        raise


@contextlib.contextmanager
def resumable(folder: Path, resume: str = "--resume") -> Iterator[None]:
    """Say what of the run is saved, where the registry fails after training or the user stops.

    `resume` is what the user is to give for it to go on.
    """
    try:
        yield
    except RegistryError as error:
        hint = f"what was learned is saved in {folder}: once this is mended, give the same command with {resume}"
        raise RegistryError(f"{error}; {hint}") from error
    except KeyboardInterrupt:
        saved = f"what was learned until the latest checkpoint is in {folder}, and {resume} goes on from there"
        left = (
            saved if run_folder.has_checkpoint(folder) else "no checkpoint was saved before, so nothing is left of it"
        )
        sys.stderr.write(f"\nstopped the run; {left}\n")
        raise
