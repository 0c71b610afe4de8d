"""Training progress for a person: a bar on a terminal, a line now and then elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from training.loop import Progress as TrainingProgress

LINE_INTERVAL_S = 10.0


class ProgressDisplay:
    """Shows steps, episodes, return, steps/s and time left."""

    def __init__(self, title: str, console: Console) -> None:
        """`title` stands before the bar."""
        self._title = title
        self._console = console
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._printed = time.monotonic()

    def show(self, progress: TrainingProgress) -> None:
        """Training stands here."""
        figures = _figures(progress)
        if self._bar is not None:
            self._bar.update(self._task, completed=progress.step, total=progress.steps, figures=figures)
        elif time.monotonic() - self._printed > LINE_INTERVAL_S:
            self._printed = time.monotonic()
            self._console.print(f"{self._title}: step {progress.step:,} of at most {progress.steps:,}, {figures}")

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
                TextColumn("{task.fields[figures]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=1, figures="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def _figures(progress: TrainingProgress) -> str:
    parts = [f"{progress.episodes:,} episodes"]
    if progress.recent_return is not None:
        parts.append(f"return {progress.recent_return:.1f}")
    if progress.best_return is not None:
        parts.append(f"best greedy {progress.best_return:.1f}")
    parts.append(f"{progress.steps_per_s:,.0f} steps/s")
    parts.append(f"environments {progress.environment_steps_per_s:,.0f} steps/s")
    if progress.samples_per_s:
        parts.append(f"learner {progress.samples_per_s:,.0f} samples/s")
    return ", ".join(parts)
