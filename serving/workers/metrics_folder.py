"""The folder in which several processes share their metrics."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from polserve.serving.errors import ConfigurationError

PREFIX = "polserve-metrics-"
LOCK_FILE = "lock"
"""Held as long as the service lives: a folder without a holder is what a killed one left."""
LIVE = "gauge_livesum"
KINDS = ("counter", LIVE, "histogram")
"""What prometheus-client has a file of for each worker."""
RESERVED_BYTES = 512 * 1024
"""Room for each of these files at first: that of histograms takes 8 KiB for a version, 3.5 KiB for a component of
actions. They grow with that (`polserve.serving.metrics.shared_values`)."""


class MetricsFolder:
    """A folder of shared metrics, in memory where there is such a place: its files are written at every call."""

    def __init__(self, n_workers: int, places: Sequence[Path] | None = None) -> None:
        """Make it with room for the metrics of so many workers, and remove those of services that were killed.

        `places` are those where it may be, the best first; None for /dev/shm and the folder for temporary files.

        Raises:
            ConfigurationError: there is no place for it.
        """
        if places is None:
            places = (Path("/dev/shm"), Path(tempfile.gettempdir()))  # noqa: S108 - the folder in it is our own
        for parent in places:
            _remove_leftovers(parent)
            try:
                self.path, self._lock = _make(parent, n_workers)
            except OSError:
                continue
            return
        mib = -(-n_workers * len(KINDS) * RESERVED_BYTES // 2**20)
        raise ConfigurationError(
            f"workers: expected a folder with room for {mib} MiB, in which several processes share their metrics, got "
            f"none: {' and '.join(map(str, places))} cannot be written or are full; mount a tmpfs on /tmp, or give "
            "--workers 1"
        )

    def forget(self, index: int) -> None:
        """Forget what a worker that has ended says of now, such as its open connections; what it counted stays.

        The file stays, too, since it has room: its first bytes say how much of it is in use.
        """
        path = self.path / f"{LIVE}_{index}.db"
        with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:  # it is gone where the service ends
            file.write(bytes(8))

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def _make(parent: Path, n_workers: int) -> tuple[Path, TextIO]:
    """Make the folder and its files, and lock it; raises OSError, and leaves nothing, where that cannot be."""
    path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    try:
        _reserve(path, n_workers)
        return path, _hold(path)
    except OSError:
        shutil.rmtree(path, ignore_errors=True)
        raise


def _hold(folder: Path) -> TextIO:
    """Lock a folder; the lock file gets its name only then, so that nobody takes the folder for a leftover."""
    unnamed = folder / f"{LOCK_FILE}.new"
    lock = unnamed.open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    unnamed.rename(folder / LOCK_FILE)
    return lock


def _reserve(folder: Path, n_workers: int) -> None:
    """Make the files of all workers, with room; raises OSError where there is none.

    NOTE: they are mapped into memory. Where the disk has no room for a page that is written to for the first time, the
    kernel ends the process with SIGBUS.
    """
    for name in (f"{kind}_{index}.db" for index in range(n_workers) for kind in KINDS):
        with (folder / name).open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, RESERVED_BYTES)


def _remove_leftovers(parent: Path) -> None:
    """Delete the folders of services that were killed."""
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            with (folder / LOCK_FILE).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # it is in use, is only being made, or is another user's
            continue
