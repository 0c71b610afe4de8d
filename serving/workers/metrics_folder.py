"""The folder in which several processes share their metrics."""

import fcntl
import shutil
import tempfile
from pathlib import Path
from typing import TextIO

from polserve.serving.errors import ConfigurationError

PREFIX = "polserve-metrics-"
LOCK_FILE = "lock"
"""Held as long as the service lives: a folder without a holder is what a killed one left."""


class MetricsFolder:
    """A folder of shared metrics, in memory where there is such a place: its files are written at every call."""

    def __init__(self) -> None:
        """Make it, and remove those of services that were killed.

        Raises:
            ConfigurationError: there is no place for it.
        """
        for parent in (Path("/dev/shm"), Path(tempfile.gettempdir())):  # noqa: S108 - the folder in it is our own
            _remove_leftovers(parent)
            try:
                self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
                self._lock = _hold(self.path)
            except OSError:
                continue
            return
        raise ConfigurationError(
            "workers: several processes share their metrics in a folder, and neither /dev/shm nor a "
            "temporary folder can be written; mount a tmpfs on /tmp"
        )

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def _hold(folder: Path) -> TextIO:
    """Lock a folder; the lock file gets its name only then, so that nobody takes the folder for a leftover."""
    unnamed = folder / f"{LOCK_FILE}.new"
    lock = unnamed.open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    unnamed.rename(folder / LOCK_FILE)
    return lock


def _remove_leftovers(parent: Path) -> None:
    """Delete the folders of services that were killed."""
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            with (folder / LOCK_FILE).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # it is in use, is only being made, or is another user's
            continue
