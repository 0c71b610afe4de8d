"""Listeners that hear how far a function has come that plays many games."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class GameProgress(Protocol):
    """A listener that hears of games that are played, and of what is worth knowing on the way."""

    def note(self, text: str) -> None:
        """Take a line that a person should read: a caution, a warning, or who is waited for."""

    def playing(self, title: str, games: int) -> AbstractContextManager[Callable[[int], None]]:
        """Begin `games` games; call what is entered with the number of games that ended since the last call."""


class Silence:
    """A `GameProgress` that says nothing."""

    def note(self, text: str) -> None:
        """Drop the line."""

    def playing(self, title: str, games: int) -> AbstractContextManager[Callable[[int], None]]:  # noqa: ARG002
        """Count nothing."""
        return nullcontext(_ignore)


class ConsoleProgress:
    """A `GameProgress` that prints lines, and on a terminal or in a notebook shows a bar over the games."""

    def __init__(self, console: Console, unit: str = "games") -> None:
        self._console = console
        self._unit = unit
        """The unit that the bar counts."""

    def note(self, text: str) -> None:
        """Print the line."""
        self._console.print(text)

    @contextmanager
    def playing(self, title: str, games: int) -> Iterator[Callable[[int], None]]:
        """Print the title, and show the bar until the block is left."""
        self._console.print(title)
        is_shown = self._console.is_terminal or self._console.is_jupyter
        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(self._unit),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console, disable=not is_shown) as bar:
            task = bar.add_task(title, total=games)
            yield lambda ended: bar.advance(task, ended)


def shown(progress: GameProgress | bool) -> GameProgress:  # noqa: FBT001 - a caller's argument, passed on
    """Return what a caller asked for: a `GameProgress` as it is, True for one on the console, False for none."""
    if isinstance(progress, bool):
        return ConsoleProgress(Console(stderr=True, highlight=False, soft_wrap=True)) if progress else SILENT
    return progress


def _ignore(_: int) -> None:
    """Drop the number of games."""


SILENT = Silence()
"""For callers who do not care."""
