"""The folder of a run, in which its checkpoint is kept; light to import."""

import contextlib
import errno
import fcntl
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from polserve.training.errors import CheckpointError

FILE_NAME = "checkpoint.pt"
"""Name of the checkpoint's file."""
LOCK_NAME = ".lock"
"""Name of the file that a run holds a lock on, with its process id in it; the kernel frees it where the run crashes."""
WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""Errors of file systems that have no locks, as clusters mount some: a run there goes on without one."""


def default_folder(policy: str, seed: int) -> Path:
    """Folder of a run for which none is given."""
    return Path("runs") / f"{policy}-seed{seed}"


def has_checkpoint(folder: Path) -> bool:
    """Return whether a run saved a checkpoint in `folder`."""
    return (folder / FILE_NAME).is_file()


def others_with_checkpoint(folder: Path) -> list[Path]:
    """Folders beside `folder` that hold a checkpoint, the latest first."""
    found = [path for path in folder.parent.glob(f"*/{FILE_NAME}") if path.parent != folder]
    return [path.parent for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)]


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a run's folder, in which one run at a time may write.

    Raises:
        CheckpointError: another run holds it, or it cannot be made.
    """
    path = folder / LOCK_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be made ({error.strerror}); choose another --run-dir") from error
    try:
        _lock(descriptor, folder)
        _write_holder(descriptor, str(os.getpid()))
        try:
            yield
        finally:
            _write_holder(descriptor, "")
            with contextlib.suppress(OSError):  # where there are no locks
                fcntl.flock(descriptor, fcntl.LOCK_UN)  # NOTE: a process that an environment forked has it open, too
    finally:
        os.close(descriptor)


def check_unlocked(folder: Path) -> None:
    """Raise CheckpointError where another run writes in `folder`."""
    if os.access(folder / LOCK_NAME, os.F_OK):  # False, and no error, where the folder cannot be looked into
        with locked(folder):
            pass


def prepare(folder: Path) -> None:
    """`folder` exists and can be written to.

    Raises:
        CheckpointError: it cannot, which is better known before the training than after it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".probe").touch()
        (folder / ".probe").unlink()
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be written to ({error.strerror}); choose another --run-dir") from error


def _write_holder(descriptor: int, process: str) -> None:
    """Write who holds the lock, for the message of who does not get it; a full disk ends no run."""
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, process.encode(), 0)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        who = f"another run (process {holder})" if holder else "another run"
        raise CheckpointError(
            f"{who} writes in {folder}; wait for its end or stop it, or choose another --run-dir"
        ) from error
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise CheckpointError(f"{folder} cannot be locked ({error.strerror}); choose another --run-dir") from error


def set_aside(folder: Path) -> Path | None:
    """Rename the checkpoint in `folder`, which a run that begins there would overwrite; return its new name.

    Raises:
        CheckpointError: it cannot be renamed.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    names = (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(1))
    aside = next(name for name in names if not name.exists())
    try:
        path.rename(aside)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be renamed ({error.strerror}); choose another --run-dir") from error
    return aside
