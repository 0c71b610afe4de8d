"""Training progress for a person: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from polserve.protos.shared.figures import figure
from polserve.training.learning.progress import Progress as TrainingProgress
from polserve.training.learning.progress import TrainingFigures
from polserve.training.runs.stages import Stage

LINE_INTERVAL_S = 10.0
MOST_BAR, LEAST_BAR = 16, 4
"""Characters of the bar, where there is much room and little."""
STEPS_WIDTH = len("8,000,000/8,000,000")
TIME_WIDTH = 7
"""Characters of a time, as in 0:01:23."""
WIDE = 100
"""Columns from which on there is room for the time that went by, too."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where training stands and how fast it goes, as people are told."""

    progress: TrainingProgress
    figures: TrainingFigures
    elapsed_s: float

    @property
    def steps_per_s(self) -> float:
        """Environment steps per second, everything included."""
        return self.progress.step / max(self.elapsed_s, 1e-9)

    def metrics(self) -> dict[str, float]:
        """TrainingFigures by metric path."""
        return {
            **self.figures.metrics,
            "charts/sps": self.steps_per_s,
            "charts/environment_sps": self.figures.environment_steps_per_s,
            "charts/samples_per_s": self.figures.samples_per_s,
        }

    def words(self) -> Iterator[str]:
        """Figures of training in words, the most telling first."""
        progress, figures = self.progress, self.figures
        if figures.recent_return is not None:
            yield f"return {figure(figures.recent_return)}"
        if progress.best_score is not None:
            yield f"best greedy {figure(progress.best_score)}"
        if progress.selection_steps:
            yield f"evaluated on {progress.selection_steps:,} steps"
        yield f"{progress.episodes:,} episodes"
        yield f"{self.steps_per_s:,.0f} steps/s"
        yield f"environments {figures.environment_steps_per_s:,.0f} steps/s"
        if figures.samples_per_s:
            yield f"learner {figures.samples_per_s:,.0f} samples/s"


class ProgressDisplay:
    """Shows steps, episodes, return, steps/s and time left."""

    def __init__(self, title: str, console: Console) -> None:
        """`title` stands before the bar."""
        self._title = title
        self._console = console
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._printed = time.monotonic()
        self._shown: Standing | None = None
        self._evaluation: Stage | None = None
        """The greedy evaluation that training waits for; None where it waits for none."""

    def show(self, standing: Standing) -> None:
        """Show where training stands."""
        progress, self._shown = standing.progress, standing
        if self._bar is not None:
            self._draw(self._bar, standing, standing.words())
        elif time.monotonic() - self._printed > LINE_INTERVAL_S:
            self._printed = time.monotonic()
            figures = ", ".join(standing.words())
            learned = f"learned from {progress.step:,} of about {progress.steps:,} steps"
            self._console.print(f"{self._title}: {learned}, {figures}")

    def evaluate(self, step: int, over: float, games: int) -> None:
        """Show how many games are over of a greedy evaluation at a step of training, which waits for it."""
        if self._evaluation is None:
            title = f"{self._title}: playing {games:,} greedy games at step {step:,}"
            self._evaluation = Stage(title, games, self._console, None, self._task)
        if self._bar is None or self._shown is None:
            self._evaluation.reach(over)
        else:
            self._draw(self._bar, self._shown, [f"evaluating: {int(over):,} of {games:,} games"])

    def go_on(self) -> None:
        """Show training again where an evaluation was shown."""
        if self._evaluation is None:
            return
        self._evaluation = None
        if self._bar is not None and self._shown is not None:
            self._draw(self._bar, self._shown, self._shown.words())

    def _draw(self, bar: Progress, standing: Standing, words: Iterable[str]) -> None:
        progress = standing.progress
        figures = ", ".join(_fitting(words, self._room(progress)))
        bar.update(self._task, completed=progress.step, total=progress.steps, figures=figures)

    @property
    def _bar_width(self) -> int:
        """Characters of the bar, which a long name makes shorter."""
        room = self._console.width - len(self._title) - STEPS_WIDTH - TIME_WIDTH - 5
        return max(LEAST_BAR, min(MOST_BAR, room))

    def _room(self, progress: TrainingProgress) -> int:
        """Characters that are left beside name, bar, step and times."""
        width = self._console.width
        steps = len(f"{progress.step:,}/{progress.steps:,}")
        times = 2 if width >= WIDE else 1
        return width - len(self._title) - self._bar_width - steps - times * TIME_WIDTH - (3 + times)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(self._bar_width),
                TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
                *([TimeElapsedColumn()] if self._console.width >= WIDE else []),
                TimeRemainingColumn(),
                TextColumn("{task.fields[figures]}"),
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


def _fitting(words: Iterable[str], room: int) -> Iterator[str]:
    """Words from the first on that together need no more than `room` characters."""
    for word in words:
        room -= len(word)
        if room < 0:
            return
        yield word
        room -= len(", ")
