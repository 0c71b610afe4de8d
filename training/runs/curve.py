"""The learning curve of a run as a file, written while it learns."""

import contextlib
import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from polserve.training.errors import CheckpointError
from polserve.training.runs.progress import Standing

FILE_NAME = "learning_curve.csv"
"""Name of the file, in the run's folder and in its report."""
COLUMNS = ("step", "selection_steps", "episodes", "seconds", "training_return", "greedy_score")
"""Environment steps learned from and evaluated on, training episodes, time, and the latest scores of both."""


class LearningCurve:
    """A line for each report of a run; a run that is resumed goes on with the lines up to its checkpoint."""

    def __init__(self, folder: Path, step: int) -> None:
        """Keep the lines up to `step` of what is there; 0 for a run that begins.

        Raises:
            CheckpointError: the file cannot be written.
        """
        self._path = folder / FILE_NAME
        self._last = (-1, 0)
        """Step of the latest line, and where in the file it begins."""
        try:
            kept = list(_lines(self._path, step)) if step else []
            with self._path.open("w", newline="") as file:
                csv.writer(file).writerow(COLUMNS)
                for row in kept:
                    self._last = int(row[0]), file.tell()
                    csv.writer(file).writerow(row)
        except OSError as error:
            raise self._refused(error) from error

    def add(self, standing: Standing) -> None:
        """Write where training stands, in place of the latest line where that is of the same step.

        What is not known yet is left empty.

        Raises:
            CheckpointError: the disk does not take it.
        """
        progress, figures = standing.progress, standing.figures
        scores = figures.recent_return, figures.metrics.get("charts/greedy_return")
        known = ["" if score is None else f"{score:.6g}" for score in scores]
        row = (progress.step, progress.selection_steps, progress.episodes, f"{standing.elapsed_s:.1f}", *known)
        try:
            with self._opened() as file:
                begins = self._last[1] if self._last[0] == progress.step else file.seek(0, os.SEEK_END)
                file.seek(begins)
                file.truncate()
                csv.writer(file).writerow(row)
            self._last = progress.step, begins
        except OSError as error:
            raise self._refused(error) from error

    def _opened(self) -> TextIO:
        """Open the file for another line; one that was deleted or renamed in the meantime begins anew."""
        with contextlib.suppress(FileNotFoundError):
            return self._path.open("r+", newline="")
        file = self._path.open("w+", newline="")
        csv.writer(file).writerow(COLUMNS)
        self._last = (-1, 0)
        return file

    def _refused(self, error: OSError) -> CheckpointError:
        return CheckpointError(f"{self._path} cannot be written ({error.strerror}); make room there")


def _lines(path: Path, step: int) -> Iterator[list[str]]:
    """Lines of a curve up to a step; none where there is no curve, as of a run by an earlier version."""
    if not path.exists():
        return
    with path.open(newline="") as file:
        for row in csv.reader(file):
            if len(row) == len(COLUMNS) and row[0].isdigit() and int(row[0]) <= step:
                yield row
