"""The golden check: a graph answers the golden observations as the trainer's own network did.

Both sides check it: the exporter before a version is registered, the service before it may answer.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from polserve.protos.shared.choices import Choices
from polserve.protos.shared.names import ACTION, MIN_GOLDEN, NEXT, OBSERVATION, VALUES

Arrays: TypeAlias = Mapping[str, NDArray[Any]]
"""Arrays by name: observation, action, and values where the policy has them."""

BATCHES = (1, 2, 17)
"""Batch sizes at which the graph must answer alike; of the larger ones, the first and the last batch are tried."""
ONCE = {2: 1, 17: 2}
"""Batches of each size where every observation is answered once; all others are answered one by one."""
_Batches: TypeAlias = Mapping[int, Sequence[NDArray[np.int_]]]
"""Indices of observations in batches, by their size; in each batch they are neighbours."""
TOLERANCE = 1e-4
"""Largest difference from the trainer's values or continuous actions, relative to the largest of them (at least 1).

Two actions whose values lie nearer than that to each other count as equally good.
"""


class GoldenMismatch(ValueError):
    """The graph answers otherwise than the trainer's network, or the golden set cannot tell."""


def check_golden(answer: Callable[..., Arrays], golden: Arrays, choices: Choices | None = None) -> float:
    """Replay the golden set, all of it one by one, and some in batches, too; return the largest difference.

    That is of values or continuous actions.

    Args:
        answer: from observations (n, *shape), and of a recurrent policy from its states by name, to the graph's outputs
            by name.
        golden: observation (n, *shape), action (n, ...), and values (n, a) where the policy has them; of a recurrent
            policy, the states before and after, each by its name and by `next_` and its name.
        choices: what the actions may be, where they are whole numbers; None for one choice from 0 on.

    Raises:
        GoldenMismatch: the difference exceeds the tolerance, a discrete action differs that is not as good as the
            trainer's, or the set is too small.
    """
    _check_shapes(golden)
    n = len(golden[OBSERVATION])
    return _replay(answer, golden, choices, {size: _batches(n, size) for size in BATCHES})


def check_golden_once(answer: Callable[..., Arrays], golden: Arrays, choices: Choices | None = None) -> float:
    """Replay the golden set, each observation once, as calls come: most of them one by one, others in batches.

    Else like `check_golden`, for a graph that passed it before: each run tells of a library or a machine that is not
    the trainer's as much as any other does.
    """
    _check_shapes(golden)
    return _replay(answer, golden, choices, _share_out(len(golden[OBSERVATION])))


def states_of(golden: Arrays) -> list[str]:
    """Names of the states of a recurrent policy's golden set; none of any other's."""
    return [name for name in golden if NEXT + name in golden]


def _check_shapes(golden: Arrays) -> None:
    """Raise GoldenMismatch where arrays are no golden set, or one that is too small."""
    if missing := {OBSERVATION, ACTION} - golden.keys():
        raise GoldenMismatch(f"the golden set lacks {', '.join(sorted(missing))}")
    sizes = {array.shape[:1] for array in golden.values()}
    if len(sizes) != 1 or sizes == {()} or golden[OBSERVATION].shape[0] < MIN_GOLDEN:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in golden.items())
        raise GoldenMismatch(f"expected at least {MIN_GOLDEN} golden observations with as many answers, got {shapes}")


def _replay(answer: Callable[..., Arrays], golden: Arrays, choices: Choices | None, batches_of: _Batches) -> float:
    """Replay batches of each size; return the largest difference, or raise GoldenMismatch."""
    largest = 0.0
    states = states_of(golden)
    for size, batches in batches_of.items():
        parts = [_answered(answer, golden, states, batch) for batch in batches]
        replayed = _Replayed(golden, np.concatenate(batches), choices)
        for name in golden.keys() - {OBSERVATION, *states}:
            got = np.concatenate([part[name] for part in parts])
            largest = max(largest, _difference(f"{name} at batches of {size}", name, got, replayed))
    return largest


class _Replayed(NamedTuple):
    """A golden set of which some observations were answered."""

    golden: Arrays
    numbers: NDArray[np.int_]
    """Indices of the observations that were answered."""
    choices: Choices | None

    def expected(self, name: str) -> NDArray[Any]:
        """Return what should have been answered."""
        return self.golden[name][self.numbers]


def _batches(n: int, size: int) -> list[NDArray[np.int_]]:
    """Return the indices of the observations in each batch that is to be answered."""
    batches = [np.arange(start, min(start + size, n)) for start in range(0, n, size)]
    return batches if size == 1 else batches[:1] + batches[1:][-1:]


def _share_out(n: int) -> _Batches:
    """Return the indices of the observations in each batch, by its size, where each of n is answered once."""
    left = iter(np.arange(n))
    large = {size: [np.fromiter(left, np.int_, size) for _ in range(ONCE[size])] for size in ONCE}
    return {1: [np.array([number]) for number in left], **large}


def _answered(
    answer: Callable[..., Arrays], golden: Arrays, states: Sequence[str], numbers: NDArray[np.int_]
) -> Arrays:
    rows = slice(numbers[0], numbers[-1] + 1)  # of neighbours, which a slice does not copy
    batch = golden[OBSERVATION][rows]
    return answer(batch, {name: golden[name][rows] for name in states}) if states else answer(batch)


def _difference(where: str, name: str, got: NDArray[Any], replayed: _Replayed) -> float:
    """Return the largest difference of one output; 0 for discrete actions."""
    expected = replayed.expected(name)
    if got.shape != expected.shape or got.dtype != expected.dtype:
        raise GoldenMismatch(f"{where}: expected {expected.dtype} {expected.shape}, got {got.dtype} {got.shape}")
    if expected.dtype.kind == "i":
        _check_actions(where, got, replayed)
        return 0.0
    difference, allowed = float(np.abs(got.astype(np.float64) - expected).max()), _tolerance(replayed.golden[name])
    if not difference <= allowed:  # NaN fails every comparison
        raise GoldenMismatch(f"{where}: differ by {difference:.3g}, allowed is {allowed:.3g}")
    return difference


def _check_actions(where: str, got: NDArray[Any], replayed: _Replayed) -> None:
    expected, choices = replayed.expected(ACTION), replayed.choices
    is_other = (got != expected).reshape(len(got), -1)
    if is_other.any() and VALUES in replayed.golden:
        values = replayed.expected(VALUES)
        difference = _values_of(got, values, choices) - _values_of(expected, values, choices)
        is_other &= ~(np.abs(difference) <= _tolerance(replayed.golden[VALUES]))  # NaN fails every comparison
    if is_other.any():
        is_row_other = is_other.any(axis=1)
        index = int(np.flatnonzero(is_row_other)[0])
        raise GoldenMismatch(
            f"{where}: {int(is_row_other.sum())} of {len(got)} differ from the trainer's; at observation "
            f"{replayed.numbers[index]} expected {expected[index]}, got {got[index]}"
        )


def _values_of(actions: NDArray[Any], values: NDArray[Any], choices: Choices | None) -> NDArray[Any]:
    """Return the value of each component of actions by `values`; NaN for one that there is not.

    Values (n, a) are of one choice, or of the choices of all components one after another.
    """
    if choices is None:
        choices = Choices(np.array([values.shape[1]]), np.zeros(1, np.int64), ())
    indices = choices.indices(actions)
    if values.shape[1] != choices.n.sum():
        return np.full(indices.shape, np.nan)
    is_choice = (indices >= 0) & (indices < choices.n)
    columns = np.where(is_choice, indices, 0) + np.cumsum(choices.n) - choices.n
    return np.where(is_choice, np.take_along_axis(values, columns, axis=1), np.nan)


def _tolerance(expected: NDArray[Any]) -> float:
    return TOLERANCE * max(1.0, float(np.abs(expected).max()))
