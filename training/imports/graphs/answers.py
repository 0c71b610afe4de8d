"""Steps that make an action of what a network gives: squashed, as probabilities, the highest chosen."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from polserve.training.imports.graphs.arguments import nothing
from polserve.training.imports.graphs.nodes import Nodes
from polserve.training.imports.graphs.steps import WHOLE, Array, Step, as_float, emit_float


@dataclass(frozen=True, slots=True)
class Tanh:
    """Squash to between -1 and 1."""

    def compute(self, array: Array) -> Array:
        """Take the hyperbolic tangent."""
        return np.asarray(np.tanh(as_float(array)))

    def emit(self, nodes: Nodes, name: str, like: Array) -> str:
        """Take the hyperbolic tangent."""
        return nodes.add("Tanh", emit_float(nodes, name, like))


@dataclass(frozen=True, slots=True)
class Softmax:
    """Make probabilities of the last axis."""

    def compute(self, array: Array) -> Array:
        """Make probabilities."""
        floats = as_float(array)
        powers = np.exp(floats - floats.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True))

    def emit(self, nodes: Nodes, name: str, like: Array) -> str:
        """Make probabilities."""
        return nodes.add("Softmax", emit_float(nodes, name, like), axis=-1)


@dataclass(frozen=True, slots=True)
class Mean:
    """Take the mean over the last axis, such as over quantiles."""

    def compute(self, array: Array) -> Array:
        """Take the means; an axis less."""
        return np.asarray(as_float(array).mean(axis=-1))

    def emit(self, nodes: Nodes, name: str, like: Array) -> str:
        """Take the means, an axis less; by a product, since the operator ReduceMean changed its form between opsets."""
        n = like.shape[-1]
        share = nodes.constant(np.full((n, 1), 1 / n, as_float(like).dtype))
        return nodes.reshape(nodes.add("MatMul", emit_float(nodes, name, like), share), like.shape[1:-1])


@dataclass(frozen=True, slots=True)
class ArgMax:
    """Choose the first of the highest numbers of the last axis."""

    def compute(self, array: Array) -> Array:
        """Find the positions, int64; an axis less."""
        return np.asarray(array.argmax(axis=-1), WHOLE)

    def emit(self, nodes: Nodes, name: str, like: Array) -> str:
        """Find the positions, int64; an axis less."""
        del like
        return nodes.add("ArgMax", name, axis=-1, keepdims=0)


def without_argument(make: Callable[[], Step]) -> Callable[[Any], Step]:
    """Return what reads a step that takes no argument."""

    def read(argument: Any) -> Step:
        nothing(argument)
        return make()

    return read


ANSWERS: Mapping[str, Callable[[Any], Step]] = {
    "argmax": without_argument(ArgMax),
    "mean": without_argument(Mean),
    "softmax": without_argument(Softmax),
    "tanh": without_argument(Tanh),
}
"""Reader of each of these steps, by its name."""
