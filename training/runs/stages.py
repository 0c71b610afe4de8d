"""The stages of a run around its training, as a person sees them: a bar on a terminal, lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from polserve.training.tasks.task import StageProgress

LINE_INTERVAL_S = 10.0
BAR_WIDTH = 16
"""With the longest title, a stage fits into 80 columns."""


class Stage:
    """One stage of `total` parts."""

    def __init__(self, title: str, total: int, console: Console, bar: Progress | None, task: TaskID) -> None:
        self._title, self._total, self._console, self._bar, self._task = title, total, console, bar, task
        self._done = 0.0
        self._started = self._printed = time.monotonic()

    def advance(self, parts: int = 1) -> None:
        """Count more parts as done."""
        self.reach(self._done + parts)

    def reach(self, done: float) -> None:
        """Set how many parts are done, counting a part that has begun as the fraction done."""
        self._done = done = min(done, self._total)
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, completed=done)
        elif now - self._printed > LINE_INTERVAL_S and done:
            self._printed = now
            left = (now - self._started) * (self._total - done) / done
            how = "about" if done >= 1 else "at most"  # an episode's fraction is of the longest one allowed
            self._console.print(f"{self._title}: {int(done):,} of {self._total:,}, {how} {left:,.0f} s left")


class Stages:
    """The stages of a run and what is said between them, on a console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(text)

    @contextmanager
    def stage(self, title: str, total: int = 1) -> Iterator[Stage]:
        """Show a stage of `total` parts, which is over with the block."""
        if not self._console.is_terminal:
            self._console.print(title)
            yield Stage(title, total, self._console, None, TaskID(0))
            return
        columns = (TextColumn("{task.description}"), BarColumn(BAR_WIDTH), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self._console) as bar:
            task = bar.add_task(title, total=total)
            yield Stage(title, total, self._console, bar, task)
            bar.update(task, completed=total)


def counted_from(stage: StageProgress, before: int) -> Callable[[float], None]:
    """Make what tells a stage how many parts are done, of which `before` were done earlier."""
    return lambda done: stage.reach(before + done)
