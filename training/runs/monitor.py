"""What watches a run while it learns: shows and logs where it stands, and saves checkpoints."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console

from polserve.training.errors import CheckpointError, RegistryError, TrainingDiverged
from polserve.training.learning.progress import Progress
from polserve.training.runs import checkpoint
from polserve.training.runs.beginning import Run
from polserve.training.runs.curve import LearningCurve
from polserve.training.runs.progress import ProgressDisplay, Standing
from polserve.training.runs.tensorboard import EventFiles


class Monitor:
    """Shows, logs and saves one run; a context manager that closes its files."""

    def __init__(self, run: Run, display: ProgressDisplay, console: Console) -> None:
        """Begin to count the time to the first checkpoint.

        Raises:
            CheckpointError: the run's folder cannot be written to.
        """
        step = run.trainee.loop.step
        self._curve = LearningCurve(run.options.folder, step)
        self._events = EventFiles(run.options.folder, step) if run.options.has_tensorboard else None
        self.unsaved: CheckpointError | None = None
        """Why the latest checkpoint was not saved; None where it was."""
        self._is_registry_down = False
        """Whether the user was told that the registry does not answer, and not yet that it answers again."""
        self._run = run
        self._display = display
        self._console = console
        self._saved = time.monotonic()

    def watch(self, progress: Progress) -> None:
        """Report and save what is due at this point of training."""
        self._display.go_on()
        if progress.is_report_due:
            self._report(progress)
        if progress.is_over or time.monotonic() - self._saved > self._run.recipe.loop.checkpoint_every_s:
            self._saved = time.monotonic()
            self._save()

    def hear_games(self, over: float) -> None:
        """Show how many games of a greedy evaluation are over; training waits for it."""
        games = self._run.recipe.loop.selection_episodes
        self._display.evaluate(self._run.trainee.loop.step, over, games)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        is_failed = isinstance(error, Exception) and not isinstance(error, TrainingDiverged)  # whose end is saved
        if is_failed and self._run.trainee.loop.step:  # hours may have been learned
            self._save()
            if self.unsaved is None:
                where = f"step {self._run.trainee.loop.step:,} is saved in {self._run.options.folder}"
                self._console.print(
                    f"note: what was learned until {where}: once this is mended, --resume goes on from there"
                )
        if self._events is not None:
            self._events.close()

    def _report(self, progress: Progress) -> None:
        """Show and log; what MLflow does not take now is sent with the next report."""
        standing = Standing(progress, self._run.trainee.loop.figures(), self._run.trainee.elapsed_s)
        self._display.show(standing)
        if self._events is not None:
            self._events.add(standing.metrics(), progress.step)
        try:
            self._curve.add(standing)
        except CheckpointError as error:
            self._warn(error)
        try:
            self._run.tracked.log_metrics(standing.metrics(), progress.step)
        except RegistryError as error:
            self._warn(error)
            return
        if self._is_registry_down and not self._run.tracked.is_waiting:
            self._is_registry_down = False
            self._console.print("note: the MLflow store answers again, and has the metrics that waited")

    def _warn(self, error: CheckpointError | RegistryError) -> None:
        """Warn of what could not be kept; of a registry that is down once, however many reports meet it."""
        if isinstance(error, RegistryError):
            if self._is_registry_down:
                return
            self._is_registry_down = True
        self._console.print(f"warning: {error}; training goes on")

    def _save(self) -> None:
        """Save a checkpoint; hours of training do not end because one could not be."""
        try:
            checkpoint.save(self._run.options.folder, self._run.state())
            self.unsaved = None
        except CheckpointError as error:
            self.unsaved = error
            self._console.print(f"warning: {error}; training goes on")
