"""Files that are read again when they change, while the service runs."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeAlias, TypeVar

from polserve.serving.errors import ConfigurationError, one_line
from polserve.serving.logs import Log

T = TypeVar("T")

LOOK_S = 1.0
"""Seconds between two looks at the files; they are read once they have stayed the same from one look to the next."""

Signature: TypeAlias = tuple[tuple[int, int, int] | None, ...]

log = Log()


class Reloaded(Generic[T]):
    """What some files say: by their last contents that could be read."""

    def __init__(self, what: str, paths: Sequence[Path], read: Callable[[], T]) -> None:
        """Read the files for the first time; raises what `read` raises.

        Args:
            what: their name in the log.
            paths: the files that are watched.
            read: reads them, or raises ConfigurationError.
        """
        self.what = what
        self._paths = tuple(paths)
        self._read = read
        self._seen = self._tried = _signature(self._paths)
        self.value = read()
        """What they say."""
        self.is_stale = False
        """Whether they have changed to something that cannot be used, so that the value is what they said before."""

    def look(self) -> None:
        """Read the files again where they have changed and are no longer being written."""
        seen = _signature(self._paths)
        is_settled, self._seen = seen == self._seen, seen
        if not is_settled or seen == self._tried:
            return
        self._tried = seen
        try:
            value = self._read()
        except (ConfigurationError, OSError) as error:
            log.error("not_reloaded", what=self.what, kept="the last good ones", error=one_line(error))  # noqa: TRY400
            self.is_stale = True
            return
        self.value, self.is_stale = value, False
        log.info("reloaded", what=self.what)


class Looked(Protocol):
    """What is looked at again and again."""

    def look(self) -> None:
        """Take in what has changed."""


class Lookout:
    """A thread that looks at files again and again."""

    def __init__(self, watched: Sequence[Looked]) -> None:
        """Begin to look, where there is something to look at."""
        self._watched = watched
        self._ended = threading.Event()
        if watched:
            threading.Thread(target=self._look, name="lookout", daemon=True).start()

    def close(self) -> None:
        """Look no more."""
        self._ended.set()

    def _look(self) -> None:
        while not self._ended.wait(LOOK_S):
            for watched in self._watched:
                try:
                    watched.look()
                except Exception:
                    log.exception("look_failed")


def read_file(setting: str, path: Path) -> bytes:
    """Read a file that a setting names.

    Raises:
        ConfigurationError: it cannot be read, or is empty.
    """
    try:
        contents = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigurationError(f"{setting}: expected a file that can be read, got {path} ({reason})") from error
    if not contents.strip():
        raise ConfigurationError(f"{setting}: expected a file with contents, got {path}, which is empty")
    return contents


def _signature(paths: Sequence[Path]) -> Signature:
    """Return what changes when the files do, those in folders and links on the way included."""
    return tuple(_signature_of(inside) for path in paths for inside in (path, *_files_in(path)))


def _files_in(path: Path) -> list[Path]:
    """List what is in a folder; nothing of a file, or of a folder that cannot be read."""
    try:
        return sorted(path.iterdir()) if path.is_dir() else []
    except OSError:
        return []


def _signature_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
