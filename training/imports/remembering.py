"""The states that a recurrent policy is in as it meets observations, in which it is compared with the original."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from polserve.training.versions.onnx_policy import OnnxPolicy

States: TypeAlias = dict[str, NDArray[Any]]
"""States by name, (n, *shape) float32 each."""


def zero_states(shapes: Mapping[str, tuple[int, ...]], n: int) -> States:
    """Return the states of n episodes that begin."""
    return {name: np.zeros((n, *shape), np.float32) for name, shape in shapes.items()}


class StateRecorder:
    """A recurrent graph that plays episodes side by side, and keeps the states that it was in."""

    def __init__(self, graph: OnnxPolicy) -> None:
        self._graph = graph
        self._now: States | None = None
        self._before: list[States] = []

    def __call__(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Choose actions for the next observations (n, *shape) of the episodes."""
        states = self._states(len(observations))
        self._before.append(states)
        actions, self._now = self._graph.act_remembering(observations, states)
        return actions

    def play(self, observations: NDArray[Any], side_by_side: int) -> None:
        """Go through observations (n, *shape), `side_by_side` at a time, as if they followed one another."""
        for start in range(0, len(observations), side_by_side):
            self(observations[start : start + side_by_side])

    def states(self, n: int) -> States:
        """States before each of the first n observations, the ones after the last action included."""
        width = len(next(iter(self._before[0].values())))
        every = [*self._before, self._states(width)]
        return {name: np.concatenate([states[name] for states in every])[:n] for name in self._graph.states}

    def _states(self, n: int) -> States:
        if self._now is None:
            return zero_states(self._graph.states, n)
        return {name: states[:n] for name, states in self._now.items()}
