"""Where the random numbers of a run come from: one stream for each use, spawned from the run's seed by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from polserve.training.environments.limits import LAST_SEED
from polserve.training.environments.making import EVALUATION_FIRST_SEED, SELECTION_FIRST_SEED
from polserve.training.learning.saved_state import restore_rng, rng_state

Use = Literal[
    "environments",
    "exploration",
    "replay",
    "network",
    "selection",
    "evaluation",
    "golden observations",
]
"""What random numbers are drawn for."""
MOST_GAMES = 1_000_000
"""Most games that follow one another from a first seed, of selection or of evaluation."""
RUNS = 1_000
"""Runs of neighbouring seeds whose environments differ by construction."""


@dataclass(frozen=True, slots=True)
class Streams:
    """The streams of one run.

    Each is spawned from one `numpy.random.SeedSequence` by its name, so that it is independent of the others, and of
    those of every other run: neighbouring seeds share nothing.
    """

    seed: int
    """The run's seed."""

    def sequence(self, use: Use) -> np.random.SeedSequence:
        """Seed sequence of a use."""
        return np.random.SeedSequence(self.seed, spawn_key=tuple(use.encode()))

    def generator(self, use: Use) -> np.random.Generator:
        """Make the generator of a use, at its beginning."""
        return np.random.default_rng(self.sequence(use))

    @property
    def network_seed(self) -> int:
        """Seed of torch's generator, by which networks draw their first weights."""
        return int(self.sequence("network").generate_state(1, np.uint64)[0] >> 1)

    @property
    def first_selection_seed(self) -> int:
        """Seed of the first game that chooses among the run's checkpoints; the others follow it."""
        return self._first("selection", SELECTION_FIRST_SEED, EVALUATION_FIRST_SEED)

    @property
    def first_evaluation_seed(self) -> int:
        """Seed of the first game of the run's evaluation; the others follow it."""
        return self._first("evaluation", EVALUATION_FIRST_SEED, LAST_SEED)

    def _first(self, use: Use, low: int, high: int) -> int:
        return int(self.generator(use).integers(low, high - MOST_GAMES))


class EnvironmentSeeds:
    """Seeds of the environments that a run learns in, below those kept for selection and evaluation.

    A run uses none twice, whether it is resumed or not. Their last digits are those of the run's seed, so that runs
    whose seeds differ in them share none by chance either.
    """

    def __init__(self, streams: Streams) -> None:
        """Begin the stream of environments."""
        self._rng = streams.generator("environments")
        self._last_digits = streams.seed % RUNS
        self._used: set[int] = set()

    def draw(self, n: int) -> list[int]:
        """Draw seeds for `n` environments, which the run has not used."""
        drawn: list[int] = []
        while len(drawn) < n:
            seed = int(self._rng.integers(SELECTION_FIRST_SEED // RUNS)) * RUNS + self._last_digits
            if seed not in self._used:
                self._used.add(seed)
                drawn.append(seed)
        return drawn

    def state(self) -> dict[str, Any]:
        """Everything that `load_state` needs."""
        return {"rng": rng_state(self._rng), "used": sorted(self._used)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        restore_rng(self._rng, state["rng"])
        self._used = set(state["used"])
