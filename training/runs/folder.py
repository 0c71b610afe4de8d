"""The folder of a run, in which its checkpoint is kept; light to import."""

import itertools
from pathlib import Path

from polserve.training.errors import CheckpointError

FILE_NAME = "checkpoint.pt"
"""Name of the checkpoint's file."""


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
