"""Files and folders that appear whole or not at all, whatever happens to the process or to the machine meanwhile.

A rename alone is not enough: after a power cut, the name may be there without what it names.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


def replace_file(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file in place of the one that is there; whoever reads it sees either of the two.

    Args:
        path: the file.
        text: what it holds afterwards.
        mode: its mode.

    Raises:
        OSError: it cannot be written; then the one before is still there.
    """
    with new_file(path, text, mode) as new:
        new.replace(path)
        sync_folder(path.parent)


@contextlib.contextmanager
def new_file(path: Path, text: str, mode: int = 0o644) -> Iterator[Path]:
    """Write a file beside `path`, which the block may give that name; it is gone after the block.

    Args:
        path: beside which, in the same folder.
        text: what it holds.
        mode: its mode.

    Raises:
        OSError: it cannot be written.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    new = Path(name)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        yield new
    finally:
        new.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Fill the folder that the block is given; it becomes `path` when all is in it, and is gone where the block fails.

    Until then its name begins with a dot, which says to those who look for versions that it is none.

    Raises:
        OSError: it cannot be made, or something is at `path` already.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield partial
        partial.chmod(0o755)
        move_folder(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def move_folder(new: Path, path: Path) -> None:
    """Give a folder that is complete its name, once all that is in it is on the disk.

    Raises:
        OSError: it cannot be, such as where something is there already.
    """
    for inside in sorted(new.rglob("*")):
        if inside.is_file():
            with inside.open("rb") as file:
                os.fsync(file.fileno())
        else:
            sync_folder(inside)
    sync_folder(new)
    new.rename(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder written to the disk, as far as its file system offers that."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some, such as those over a network, refuse it for folders
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
