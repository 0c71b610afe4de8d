"""The proof that a version is the policy that was trained: checksum, graph, golden replay; and its pace here."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polserve.protos.shared.golden import Arrays, GoldenMismatch, check_golden
from polserve.protos.shared.names import ACTION, GOLDEN_FILE, SHA256_TAG, VALUES
from polserve.serving.batching import Batching, measure_pace
from polserve.serving.errors import RolloutRefused, one_line
from polserve.serving.policy import Policy
from polserve.serving.sources.source import VersionRef


def load(ref: VersionRef, batching: Batching = "auto") -> Policy:
    """The version in memory, warm, with its pace on this machine.

    Raises:
        RolloutRefused: it is not the file that was registered, or no policy version.
    """
    policy = Policy.load(ref.policy, ref.version, ref.folder)
    if policy.sha256 != ref.sha256:
        wanted = ref.sha256 or f"a tag {SHA256_TAG}"
        raise RolloutRefused(f"sha256 of model.onnx: expected {wanted}, got {policy.sha256}")
    try:
        policy.pace = measure_pace(policy, batching)
    except Exception as error:  # onnxruntime raises a dozen unrelated classes
        raise RolloutRefused(f"an observation of zeros cannot be answered: {one_line(error)}") from error
    return policy


def verify(ref: VersionRef, batching: Batching = "auto") -> Policy:
    """The loaded version, after it has answered as the trainer's network did, one by one and in batches.

    Raises:
        RolloutRefused: it is not the file that was registered, no policy version, or answers otherwise.
    """
    policy = load(ref, batching)
    golden = _read_golden(ref.folder / GOLDEN_FILE)
    replay_golden(policy, golden)
    _check_actions(policy, golden[ACTION])
    return policy


def _check_actions(policy: Policy, actions: NDArray[Any]) -> None:
    """Raise where actions, which the graph gives too, are none of the spec's action space."""
    if policy.n_actions is None:
        if actions.dtype != np.float32 or actions.shape[1:] != (len(policy.components),):
            raise RolloutRefused(
                f"actions: expected float32 (N, {len(policy.components)}), got {actions.dtype} {actions.shape}"
            )
    elif actions.dtype != np.int64 or actions.ndim != 1 or actions.min() < 0 or actions.max() >= policy.n_actions:
        raise RolloutRefused(
            f"actions: expected int64 (N,) from 0 to {policy.n_actions - 1}, got {actions.dtype} {actions.shape} "
            f"from {actions.min()} to {actions.max()}"
        )


def replay_golden(policy: Policy, golden: Arrays) -> None:
    """`policy` answers the golden observations as the trainer's network did.

    Raises:
        RolloutRefused: it answers otherwise, or not at all.
    """

    def answer(observations: NDArray[Any]) -> Arrays:
        given = policy.act(observations, with_values=VALUES in golden)
        return {ACTION: given.actions} | ({VALUES: given.values} if given.values is not None else {})

    try:
        check_golden(answer, golden)
    except GoldenMismatch as mismatch:
        raise RolloutRefused(f"golden replay: {mismatch}") from mismatch
    except Exception as error:  # onnxruntime raises a dozen unrelated classes
        raise RolloutRefused(f"the golden observations cannot be answered: {one_line(error)}") from error


def _read_golden(path: Path) -> Arrays:
    try:
        # Opened here, since numpy leaves a damaged archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # a damaged archive makes zipfile, zlib and numpy raise a dozen unrelated classes
        raise RolloutRefused(f"{path} cannot be read: {one_line(error)}") from error
