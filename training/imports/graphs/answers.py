"""Steps that make an action of what a network gives: squashed, as probabilities, the highest chosen."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from polserve.training.imports.graphs.arguments import nothing
from polserve.training.imports.graphs.nodes import Nodes
from polserve.training.imports.graphs.steps import WHOLE, Array, Step, as_float, check_has_axis, emit_float


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
        check_has_axis(array)
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
        check_has_axis(array)
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
        check_has_axis(array)
        return np.asarray(array.argmax(axis=-1), WHOLE)

    def emit(self, nodes: Nodes, name: str, like: Array) -> str:
        """Find the positions, int64; an axis less."""
        del like
        return nodes.add("ArgMax", name, axis=-1, keepdims=0)


@dataclass(frozen=True, slots=True)
class Choices:
    """Choose the first of the highest numbers for each of several choices, whose numbers stand in a row."""

    sizes: tuple[int, ...]
    """How many numbers each choice has."""

    def compute(self, array: Array) -> Array:
        """Find the positions (n, choices), int64."""
        parts = np.split(array, np.cumsum(self.sizes)[:-1], axis=-1)
        return np.stack([part.argmax(axis=-1) for part in parts], axis=-1).astype(WHOLE)

    def emit(self, nodes: Nodes, name: str, like: Array) -> str:
        """Find the positions (n, choices), int64."""
        axis = nodes.whole(like.ndim - 1)
        ends = np.cumsum(self.sizes).tolist()
        parts = [
            nodes.add("Slice", name, nodes.whole(end - size), nodes.whole(end), axis)
            for size, end in zip(self.sizes, ends, strict=True)
        ]
        return nodes.add("Concat", *(nodes.add("ArgMax", part, axis=-1, keepdims=1) for part in parts), axis=-1)


@dataclass(frozen=True, slots=True)
class Positive:
    """Choose 1 where a number is above 0, else 0."""

    def compute(self, array: Array) -> Array:
        """Find the choices, int64."""
        return np.asarray(array > 0, WHOLE)

    def emit(self, nodes: Nodes, name: str, like: Array) -> str:
        """Find the choices, int64."""
        return nodes.cast(nodes.add("Greater", name, nodes.constant(np.zeros((), like.dtype))), WHOLE)


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
