"""The golden observations, which a version must answer as the trainer's own network did."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polserve.protos.shared.golden import Arrays, GoldenMismatch, check_golden_once
from polserve.protos.shared.names import ACTION, GOLDEN_FILE, NEXT, VALUES
from polserve.serving.errors import RolloutRefused, one_line
from polserve.serving.policy import Policy
from polserve.serving.validation.pace import TimedRuns


def check_golden_file(policy: Policy, folder: Path) -> TimedRuns:
    """Replay the golden observations in a version's folder, one by one and in batches; return the runs it took.

    Raises:
        RolloutRefused: there are none, the policy answers otherwise, or its actions are not those of its spec.
    """
    golden = _read_golden(folder / GOLDEN_FILE)
    runs = TimedRuns(policy)
    replay_golden(runs, golden)
    _check_actions(policy, golden[ACTION])
    return runs


def _check_actions(policy: Policy, actions: NDArray[Any]) -> None:
    """Raise RolloutRefused where actions, which the graph gives too, are outside of the spec's action space."""
    choices, shape = policy.choices, policy.action_shape
    dtype = np.dtype(np.float32 if choices is None else np.int64)
    if actions.dtype != dtype or actions.shape[1:] != shape:
        wanted = f"{dtype} {('N', *shape)}".replace("'", "")
        raise RolloutRefused(f"actions: expected {wanted}, got {actions.dtype} {actions.shape}")
    if choices is not None and not choices.are_actions(actions).all():
        index = int(np.flatnonzero(~choices.are_actions(actions))[0])
        low, high = choices.start, choices.start + choices.n - 1
        bounds = f"{low[0]} to {high[0]}" if shape == () else f"{low.tolist()} to {high.tolist()}"
        raise RolloutRefused(f"actions: expected int64 from {bounds}, got {actions[index]} at observation {index}")


def replay_golden(runs: TimedRuns, golden: Arrays) -> None:
    """Check that a policy answers the golden observations as the trainer's network did.

    Raises:
        RolloutRefused: it answers otherwise, or not at all.
    """
    policy, memory = runs.policy, runs.policy.memory
    if memory is not None and (missing := {*memory.names, *memory.next_names} - golden.keys()):
        raise RolloutRefused(f"golden replay: the golden set lacks the states {', '.join(sorted(missing))}")

    def answer(observations: NDArray[Any], states: Arrays | None = None) -> Arrays:
        rows = observations if memory is None else memory.rows(observations, memory.of_arrays(states or {}))
        given = runs.act(rows, with_values=VALUES in golden)
        answered = {ACTION: given.actions} | ({VALUES: given.values} if given.values is not None else {})
        if memory is not None and given.memories is not None:
            answered |= memory.by_name(given.memories, NEXT)
        return answered

    try:
        check_golden_once(answer, golden, policy.choices)
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
