"""Steps on numbers before and after a graph, each computed twice: with numpy beside the original, and as nodes.

A step works on a batch (n, *shape). The import's proof compares the two.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from polserve.training.imports.graphs.arguments import (
    Doubles,
    StepFault,
    exactly,
    is_number,
    numbers,
    pair,
    whole,
    wholes,
)
from polserve.training.imports.graphs.nodes import Nodes

Array: TypeAlias = NDArray[Any]
FLOAT = np.dtype(np.float32)
DOUBLE = np.dtype(np.float64)
WHOLE = np.dtype(np.int64)


class Step(Protocol):
    """What is done to each of n arrays before or after a graph."""

    def compute(self, array: Array, /) -> Array:
        """Compute the step with numpy, (n, *shape) to (n, *other); raises StepFault where it does not fit."""

    def emit(self, nodes: Nodes, name: str, like: Array, /) -> str:
        """Add nodes that compute the step of the tensor `name`, which is such as `like`; return the result's name."""


def as_float(array: Array) -> Array:
    """Return the array itself where it has floats, else the same numbers as float32."""
    return array if array.dtype.kind == "f" else array.astype(FLOAT)


def check_has_axis(array: Array) -> None:
    """Raise StepFault where an observation has one number, so that the last axis is the batch."""
    if array.ndim <= 1:
        raise StepFault("an axis besides the batch", "one number for each observation")


def check_fits(operand: Doubles, like: Array) -> None:
    """Raise StepFault where there is neither one number nor one for each component of the last axis."""
    if operand.size != 1 and (like.ndim <= 1 or operand.size != like.shape[-1]):
        raise StepFault(f"as many numbers as the last axis of {like.shape[1:]} has, or one", operand.tolist())


def emit_float(nodes: Nodes, name: str, like: Array) -> str:
    """Add nodes as `as_float`; return the result's name."""
    return name if like.dtype.kind == "f" else nodes.cast(name, FLOAT)


def _float_dtype(like: Array) -> np.dtype[Any]:
    return like.dtype if like.dtype.kind == "f" else FLOAT


@dataclass(frozen=True, slots=True, eq=False)
class Arithmetic:
    """Multiply, divide or add a number, or one for each component."""

    operator: str
    """Of ONNX: Mul, Div or Add."""
    operand: Doubles

    def compute(self, array: Array) -> Array:
        """Multiply, divide or add."""
        operation = {"Mul": np.multiply, "Div": np.divide, "Add": np.add}[self.operator]
        floats = as_float(array)
        return np.asarray(operation(floats, self._operand(floats)))

    def emit(self, nodes: Nodes, name: str, like: Array) -> str:
        """Multiply, divide or add."""
        return nodes.add(self.operator, emit_float(nodes, name, like), nodes.constant(self._operand(like)))

    def _operand(self, like: Array) -> Array:
        check_fits(self.operand, like)
        return self.operand.astype(_float_dtype(like))


def scale(argument: Any) -> Step:
    """Read `scale`: what to multiply by."""
    return Arithmetic("Mul", numbers(argument))


def shift(argument: Any) -> Step:
    """Read `shift`: what to add."""
    return Arithmetic("Add", numbers(argument))


def divide(argument: Any) -> Step:
    """Read `divide`: what to divide by."""
    step = Arithmetic("Div", numbers(argument))
    if not step.operand.all():
        raise StepFault("numbers other than 0", argument)
    return step


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """Cut off at a lowest and a highest value."""

    low: Doubles
    high: Doubles

    def compute(self, array: Array) -> Array:
        """Cut off at the limits."""
        check_fits(self.low, array)
        check_fits(self.high, array)
        floats = as_float(array)
        return np.asarray(np.minimum(np.maximum(floats, self.low.astype(floats.dtype)), self.high.astype(floats.dtype)))

    def emit(self, nodes: Nodes, name: str, like: Array) -> str:
        """Cut off at the limits, by Max and Min: the operator Clip has one limit for all components."""
        dtype = _float_dtype(like)
        bounded = nodes.add("Max", emit_float(nodes, name, like), nodes.constant(self.low.astype(dtype)))
        return nodes.add("Min", bounded, nodes.constant(self.high.astype(dtype)))


def clip(argument: Any) -> Step:
    """Read `clip`: [low, high], each a number or a list of them."""
    low, high = (numbers(part) for part in pair(argument, "[low, high]"))
    if low.shape != high.shape or not np.less(low, high).all():
        raise StepFault("[low, high] with low below high", argument)
    return Clip(low, high)


@dataclass(frozen=True, slots=True, eq=False)
class Normalize:
    """Take the mean off and divide by the standard deviation, in float64, as running statistics do."""

    mean: Doubles
    deviation: Doubles
    limit: float | None

    def compute(self, array: Array) -> Array:
        """Measure in standard deviations from the mean."""
        check_fits(self.mean, array)
        check_fits(self.deviation, array)
        normal = (array.astype(DOUBLE) - self.mean) / self.deviation
        limited = normal if self.limit is None else np.minimum(np.maximum(normal, -self.limit), self.limit)
        return np.asarray(limited.astype(FLOAT))

    def emit(self, nodes: Nodes, name: str, like: Array) -> str:
        """Measure in standard deviations from the mean."""
        del like
        apart = nodes.add("Sub", nodes.cast(name, DOUBLE), nodes.constant(self.mean))
        normal = nodes.add("Div", apart, nodes.constant(self.deviation))
        if self.limit is not None:
            normal = nodes.add("Max", normal, nodes.constant(np.array(-self.limit, DOUBLE)))
            normal = nodes.add("Min", normal, nodes.constant(np.array(self.limit, DOUBLE)))
        return nodes.cast(normal, FLOAT)


def normalize(argument: Any) -> Step:
    """Read `normalize`: {mean, variance or std, epsilon, clip}."""
    given = exactly(argument, {"mean"}, {"variance", "std", "epsilon", "clip"})
    if ("variance" in given) == ("std" in given):
        raise StepFault("either variance or std beside mean", argument)
    epsilon = given.get("epsilon", 1e-8 if "variance" in given else 0.0)
    if not is_number(epsilon) or epsilon < 0:
        raise StepFault("an epsilon of 0 or more", epsilon)
    spread = numbers(given.get("variance", given.get("std"))) + epsilon
    if not (spread > 0).all():
        raise StepFault("a variance or std above 0", argument)
    limit = given.get("clip")
    if limit is not None and (not is_number(limit) or limit <= 0):
        raise StepFault("a clip above 0", limit)
    return Normalize(numbers(given["mean"]), np.sqrt(spread) if "variance" in given else spread, limit)


@dataclass(frozen=True, slots=True)
class Denormalize:
    """Multiply by a standard deviation and add a mean."""

    multiply: Arithmetic
    add: Arithmetic

    def compute(self, array: Array) -> Array:
        """Return to the values' own units."""
        return self.add.compute(self.multiply.compute(array))

    def emit(self, nodes: Nodes, name: str, like: Array) -> str:
        """Return to the values' own units."""
        return self.add.emit(nodes, self.multiply.emit(nodes, name, like), as_float(like))


def denormalize(argument: Any) -> Step:
    """Read `denormalize`: {mean, std}."""
    given = exactly(argument, {"mean", "std"}, set())
    return Denormalize(Arithmetic("Mul", numbers(given["std"])), Arithmetic("Add", numbers(given["mean"])))


def between(low: Doubles, high: Doubles) -> Step:
    """Scale from [-1, 1] to [low, high]."""
    return Denormalize(Arithmetic("Mul", (high - low) / 2), Arithmetic("Add", (high + low) / 2))


@dataclass(frozen=True, slots=True)
class OneHot:
    """Lay each whole number out as a 1 among zeros, all of them in a row."""

    sizes: tuple[int, ...]
    """How many values each number has; one for all where there is one size."""
    start: int
    """The lowest value."""

    def compute(self, array: Array) -> Array:
        """Make rows (n, m) of zeros and ones."""
        component, value = self._plan(array)
        flat = array.reshape(len(array), -1).astype(WHOLE)
        return np.asarray(flat[:, component] == value, FLOAT)

    def emit(self, nodes: Nodes, name: str, like: Array) -> str:
        """Make rows (n, m) of zeros and ones."""
        component, value = self._plan(like)
        flat = nodes.cast(nodes.reshape(name, (prod(like.shape[1:]),)), WHOLE)
        spread = nodes.add("Gather", flat, nodes.constant(component), axis=1)
        return nodes.cast(nodes.add("Equal", spread, nodes.constant(value)), FLOAT)

    def _plan(self, like: Array) -> tuple[Array, Array]:
        """Component that each column of the result looks at, and the value that it looks for."""
        n = prod(like.shape[1:])
        sizes = self.sizes * n if len(self.sizes) == 1 else self.sizes
        if len(sizes) != n:
            raise StepFault(f"{n} sizes, one for each number, or one for all", list(self.sizes))
        value = np.concatenate([np.arange(size) for size in sizes]) + self.start
        return np.repeat(np.arange(n), sizes).astype(WHOLE), value.astype(WHOLE)


def one_hot(argument: Any) -> Step:
    """Read `one_hot`: a number of values, a list of them, or {n, start}."""
    start = 0
    if isinstance(argument, Mapping):
        given = exactly(argument, {"n"}, {"start"})
        argument, start = given["n"], whole(given.get("start", 0), None)
    return OneHot(wholes(argument if isinstance(argument, list) else [argument], 1), start)
