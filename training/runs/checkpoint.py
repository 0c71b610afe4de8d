"""A run on disk: written so that a crash at any point leaves the last complete one."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polserve.training.errors import CheckpointError
from polserve.training.runs.folder import FILE_NAME

FORMAT = 2


def save(folder: Path, state: Mapping[str, Any]) -> Path:
    """`folder/checkpoint.pt` holds `state`: nested dicts of tensors, numpy arrays, numbers and strings.

    Raises:
        CheckpointError: the disk does not take it; the last complete one is still there.
    """
    path = folder / FILE_NAME
    partial = path.with_suffix(".part")
    try:
        with partial.open("wb") as file:
            torch.save({"format": FORMAT, **_to_tensors(state)}, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as error:  # the latter where torch's writer met the former
        partial.unlink(missing_ok=True)
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise CheckpointError(
            f"a checkpoint could not be written to {folder} ({reason}); the one before it is kept; make room there"
        ) from error
    return path


def load(folder: Path) -> dict[str, Any]:
    """What `save` wrote, with numpy arrays in place of the arrays.

    Raises:
        CheckpointError: there is none, it is damaged, or another version of polserve wrote it.
    """
    path = folder / FILE_NAME
    if not path.exists():
        raise CheckpointError(f"no checkpoint at {path}; start the run without --resume")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path} is not a complete checkpoint ({reason}); start the run anew") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path}: expected checkpoint format {FORMAT}; resume with the version that wrote it")
    del state["format"]
    return state


def _to_tensors(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _to_tensors(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    return value
