"""A run on disk: written so that a crash at any point leaves the last complete one."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polserve.training.errors import CheckpointError
from polserve.training.runs.folder import FILE_NAME

FORMAT = 4
"""Format that is written; the two before are read too."""
ANEW = "start the run anew without --resume"
"""What to do about a checkpoint from which no run goes on."""


def save(folder: Path, state: Mapping[str, Any]) -> Path:
    """Write `state` to `folder/checkpoint.pt`: nested dicts of tensors, numpy arrays, numbers and strings.

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


def load(folder: Path, remedy: str = ANEW) -> dict[str, Any]:
    """Read what `save` wrote, with tensors in place of the arrays; `remedy` ends the error that it cannot be read.

    Raises:
        CheckpointError: there is none, it is damaged, or another version of polserve wrote it.
    """
    path = folder / FILE_NAME
    if not path.exists():
        raise CheckpointError(f"no checkpoint at {path}; start the run without --resume")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror or error}); {remedy}") from error
    except Exception as error:  # torch raises what its readers do
        raise CheckpointError(
            f"{path} is not a complete checkpoint of polserve's: it is damaged, or of something else; {remedy}"
        ) from error
    if not isinstance(state, dict) or not isinstance(state.get("format"), int):
        raise CheckpointError(f"{path} is no checkpoint of polserve's: something else wrote it; {remedy}")
    if state["format"] not in {FORMAT, FORMAT - 1, FORMAT - 2}:
        raise CheckpointError(
            f"{path}: expected checkpoint format {FORMAT}, got {state['format']}, of another version of polserve; "
            f"use that version, or {remedy}"
        )
    found = state.pop("format")
    state = _renamed(state) if found < 3 else state  # noqa: PLR2004 - the format that has other names
    return _with_streams(state) if found < FORMAT else state


def _with_streams(state: dict[str, Any]) -> dict[str, Any]:
    """State of format 3 as one of format 4: its run goes on with the streams of its seed, which are new to it."""
    kept = {"best_returns": [], "selection_steps": 0, "is_evaluation_due": False}
    return {**state, "loop": {**state["loop"], **kept}}


def _renamed(state: dict[str, Any]) -> dict[str, Any]:
    """State of format 2 under the names of format 3."""
    loop, origin = state["loop"], state.pop("origin")
    loop["best_score"] = loop.pop("best_return")
    initial = {"description": origin.pop("initial_weights"), **origin}
    return {**state, "elapsed_s": loop.pop("elapsed_s"), "initial_weights": initial}


def _to_tensors(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _to_tensors(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    return value
