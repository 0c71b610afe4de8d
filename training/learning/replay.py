"""The replay: the latest steps, from which agents draw what they learn from."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from polserve.training.errors import CheckpointError
from polserve.training.learning.transitions import Sampling, Transitions, VectorStep
from polserve.training.machine.free_memory import check_memory

STEP_BYTES = 7
"""Bytes of a stored step beside observation and action: a float32 and three booleans."""


class Replay:
    """The latest steps of n environments, in arrays allocated once; every observation is stored once.

    Rows are times, columns are environments. Since an environment is reset by the step after the one that ended its
    episode, the observation of the next row is always the one that a real step led to, terminal ones included.

    Of observations that are stacks, only the newest frame is stored; the rest is found in the rows before.
    """

    def __init__(
        self, capacity: int, n_envs: int, observation: NDArray[Any], action: NDArray[Any], *, stack: int = 0
    ) -> None:
        """Room for `capacity` steps in all; `observation` and `action` are examples of one environment's.

        With a `stack`, observations are (stack, ...) of the latest frames, filled with an episode's first one.

        Raises:
            ValueError: there is no room for two rows.
            InvalidOption: the machine has not the memory.
        """
        rows = capacity // n_envs
        if rows < 2:  # noqa: PLR2004 - a transition takes two rows
            raise ValueError(
                f"replay capacity: expected at least {2 * n_envs} for {n_envs} environments, got {capacity}"
            )
        self._stack = stack
        stored = observation[-1] if stack else observation
        check_memory(rows * n_envs * (stored.nbytes + action.nbytes + STEP_BYTES), capacity)
        self._rows = VectorStep(
            observation_tm1=_empty(rows, n_envs, stored.shape, stored.dtype),
            action_tm1=_empty(rows, n_envs, action.shape, action.dtype),
            reward_t=_empty(rows, n_envs, (), np.float32),
            is_terminated=_empty(rows, n_envs, (), np.bool_),
            is_over=_empty(rows, n_envs, (), np.bool_),
            is_real=_empty(rows, n_envs, (), np.bool_),
        )
        self._added = 0
        self._is_restored = False
        """Whether the oldest rows may lack those of their episode before them, though no row was overwritten."""

    @property
    def nbytes(self) -> int:
        """Memory of the arrays in bytes."""
        return sum(array.nbytes for array in _arrays(self._rows).values())

    def __len__(self) -> int:
        """Count the steps stored, resets included."""
        return int(min(self._added, len(self._rows.reward_t)) * self._rows.reward_t.shape[1])

    def add(self, step: VectorStep) -> None:
        """Store a step in place of the oldest one."""
        row = self._added % len(self._rows.reward_t)
        new = _arrays(step)
        if self._stack:
            new["observation_tm1"] = step.observation_tm1[:, -1]
        for name, array in _arrays(self._rows).items():
            array[row] = new[name]
        self._added += 1

    def sample(self, rng: np.random.Generator, sampling: Sampling, batches: int = 1) -> Transitions:
        """Transitions for `batches` batches, drawn uniformly and with replacement.

        They start at real steps that have `n_step` rows after them.

        A transition ends early where its episode does.

        Raises:
            ValueError: fewer than `n_step` + 1 rows are stored.
        """
        size = batches * sampling.batch_size
        times, envs = self._starts(rng, sampling.n_step, size)
        stored, n_rows = self._rows, len(self._rows.reward_t)
        reward = np.zeros(size, np.float32)
        discount = np.ones(size, np.float32)
        ends = times.copy()
        is_going = np.ones(size, np.bool_)
        for _ in range(sampling.n_step):
            row = ends % n_rows
            reward += np.where(is_going, discount * stored.reward_t[row, envs], np.float32(0))
            step_discount = np.where(stored.is_terminated[row, envs], np.float32(0), np.float32(sampling.discount))
            discount = np.where(is_going, discount * step_discount, discount)
            ends += is_going
            is_going &= ~stored.is_over[row, envs]
        return Transitions(
            observation_tm1=self._observations(times, envs),
            action_tm1=stored.action_tm1[times % n_rows, envs],
            reward_t=reward,
            discount_t=discount,
            observation_t=self._observations(ends, envs),
        )

    def state(self) -> dict[str, Any]:
        """Return views of the filled rows, and which is the oldest: all that `load_state` needs."""
        filled = len(self) // self._rows.reward_t.shape[1]
        rows = {name: array[:filled] for name, array in _arrays(self._rows).items()}
        return {"added": filled, "oldest": self._added % filled if self._added > filled else 0, "rows": rows}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the contents that `state` gave; what is added next begins new episodes.

        Raises:
            CheckpointError: they do not fit this replay.
        """
        oldest = int(state["oldest"])
        for name, array in _arrays(self._rows).items():
            saved = np.asarray(state["rows"][name])
            if saved.shape[1:] != array.shape[1:] or len(saved) > len(array):
                raise CheckpointError(
                    f"replay {name}: expected at most {len(array)} rows of {array.shape[1:]}, got {saved.shape}; "
                    "resume with the settings that the run was started with"
                )
            older = len(saved) - oldest
            array[:older], array[older : len(saved)] = saved[oldest:], saved[:oldest]
        self._added = int(state["added"])
        self._is_restored = True
        self._cut()

    def _observations(self, times: NDArray[np.int64], envs: NDArray[np.int64]) -> NDArray[Any]:
        """Observations at `times`, each with the frames of its episode before it where they are stacks."""
        stored, n_rows = self._rows, len(self._rows.reward_t)
        if not self._stack:
            return np.asarray(stored.observation_tm1[times % n_rows, envs])
        stacked = np.repeat(times[:, None], self._stack, axis=1)
        for back in range(self._stack - 2, -1, -1):
            before = stacked[:, back + 1] - 1
            # A row without a real step holds the last frame of an episode: the one after it is the first of the next.
            is_same_episode = stored.is_real[before % n_rows, envs] & (before >= 0)
            stacked[:, back] = np.where(is_same_episode, before, stacked[:, back + 1])
        return np.asarray(stored.observation_tm1[stacked % n_rows, envs[:, None]])

    def _cut(self) -> None:
        """No transition reaches from the stored rows into those that follow.

        The last row would be continued by an unrelated observation: it is no start any more, and the row before it
        ends its episode there, bootstrapping from the last row's observation.
        """
        if self._added:
            last = (self._added - 1) % len(self._rows.reward_t)
            self._rows.is_over[last - 1] |= self._rows.is_real[last]
            self._rows.is_real[last] = False

    def _starts(self, rng: np.random.Generator, n_step: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw times and environments of real steps with `n_step` rows after them, and their stack's before."""
        n_rows, n_envs = self._rows.reward_t.shape
        oldest, end = max(0, self._added - n_rows), self._added - n_step
        oldest += max(0, self._stack - 1) if oldest or self._is_restored else 0
        if end <= oldest:
            raise ValueError(f"expected more than {n_step} rows to sample from, got {self._added}")
        times = rng.integers(oldest, end, size=size)
        envs = rng.integers(n_envs, size=size)
        while (is_reset := ~self._rows.is_real[times % n_rows, envs]).any():
            count = int(is_reset.sum())
            times[is_reset] = rng.integers(oldest, end, size=count)
            envs[is_reset] = rng.integers(n_envs, size=count)
        return times, envs


def _empty(rows: int, n_envs: int, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    return np.empty((rows, n_envs, *shape), dtype)


def _arrays(step: VectorStep) -> dict[str, NDArray[Any]]:
    return {field.name: getattr(step, field.name) for field in fields(step)}
