"""From a graph's output to actions of a space, and what that space is where no environment tells it."""

from dataclasses import dataclass, field
from math import prod
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from polserve.training.environments.spaces import float32_bounds, short
from polserve.training.errors import ImportRefused
from polserve.training.imports.graphs.answers import ArgMax, Choices, Positive
from polserve.training.imports.graphs.arguments import Doubles
from polserve.training.imports.graphs.form import ActionForm, AtBounds, ContinuousForm
from polserve.training.imports.graphs.nodes import Nodes
from polserve.training.imports.graphs.steps import FLOAT, WHOLE, Array, Clip, Step, between
from polserve.training.imports.graphs.wiring import MATRIX, computed

BINARY = 2
"""Actions between which one probability decides."""


@dataclass(frozen=True, slots=True, eq=False)
class Finish:
    """The steps after an output, and the form that its numbers take in the end."""

    where: str
    """Field of the spec, for errors."""
    steps: tuple[Step, ...]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    """Of the result for one observation."""
    start: Array = field(default_factory=lambda: np.asarray(0))
    """Number of the first action, or of the first value of each choice, which is added."""

    def compute(self, output: Array) -> Array:
        """Actions or values (n, *shape), by numpy."""
        array = computed(self.where, self.steps, output).astype(self.dtype).reshape(len(output), *self.shape)
        return array + self.start.astype(self.dtype) if self.start.any() else array

    def emit(self, nodes: Nodes, name: str, output: Array, result: str) -> None:
        """Add nodes that compute the same of the tensor `name`, which is such as `output`, into `result`."""
        array = output
        for step in self.steps:
            name = step.emit(nodes, name, array)
            array = step.compute(array)
        name = nodes.reshape(nodes.cast(name, self.dtype), self.shape)
        if self.start.any():
            nodes.add_named("Add", result, name, nodes.constant(self.start.astype(self.dtype)))
        else:
            nodes.add_named("Identity", result, name)


def action_of(
    form: ActionForm, steps: tuple[Step | AtBounds, ...] | None, space: gym.Space[Any] | None, output: Array
) -> tuple[gym.Space[Any], Finish]:
    """Space of the actions, and how an output becomes one.

    Args:
        form: what the spec says of actions.
        steps: after the output; None for what its type suggests.
        space: of the environment, where it is installed.
        output: of the graph for some observations.

    Raises:
        ImportRefused: no space is known, the spec's is another than the environment's, or the output makes no action.
    """
    mine = _stated(form)
    if mine is not None and space is not None and mine != space:
        raise ImportRefused(f"action: expected the environment's actions, {short(space)}, got {short(mine)}")
    space = mine or space
    if isinstance(space, Box) or form.continuous is not None:
        return _continuous(form.continuous, steps, space, output)
    if space is None:
        raise ImportRefused(
            "action: expected discrete: N or continuous: {low: [...], high: [...]}, or an environment that is "
            "installed; got none"
        )
    return space, _choices(space, steps, output)


def _stated(form: ActionForm) -> gym.Space[Any] | None:
    """Space of choices that the spec states; None where it states none."""
    if form.discrete is not None:
        return Discrete(form.discrete.n, start=form.discrete.start)
    if form.multi_discrete is not None:
        return MultiDiscrete(form.multi_discrete)
    return None if form.multi_binary is None else MultiBinary(form.multi_binary)


def values_of(steps: tuple[Step | AtBounds, ...] | None, n_actions: int, output: Array) -> Finish:
    """How an output becomes a value for each action.

    Raises:
        ImportRefused: it does not.
    """
    plain = tuple(step for step in steps or () if not isinstance(step, AtBounds))
    result = computed("values.steps", plain, output)
    if result.shape[1:] != (n_actions,):
        raise ImportRefused(f"values: expected {n_actions} for each observation, got {result.shape[1:]}; add steps")
    return Finish("values.steps", plain, FLOAT, (n_actions,))


def _choices(space: gym.Space[Any], steps: tuple[Step | AtBounds, ...] | None, output: Array) -> Finish:
    """How an output becomes whole numbers: as they are, or of scores the highest for each choice."""
    if any(isinstance(step, AtBounds) for step in steps or ()):
        raise ImportRefused("action.steps: expected no bounds for discrete actions, got to_bounds or clip: bounds")
    chosen = tuple(step for step in steps or () if not isinstance(step, AtBounds))
    result = computed("action.steps", chosen, output)
    sizes, k = sizes_of(space)
    if result.dtype.kind not in "iu":
        scores = len(sizes) if isinstance(space, MultiBinary) else sum(sizes)
        if result.shape[1:] != (scores,):
            raise ImportRefused(
                f"action: expected {scores} scores for each observation, of which the highest is chosen, got "
                f"{result.dtype} {result.shape[1:]}; {_remedy(space, result)}"
            )
        choose: Step = Positive() if isinstance(space, MultiBinary) else ArgMax() if k == 1 else Choices(tuple(sizes))
        chosen = (*chosen, choose)
    elif prod(result.shape[1:]) != k:
        raise ImportRefused(
            f"action: expected {k} whole {'number' if k == 1 else 'numbers'} for each observation, got "
            f"{result.dtype} {result.shape[1:]}; say by action.steps how they make an action"
        )
    is_counted_from_0 = bool(chosen) and isinstance(chosen[-1], (ArgMax, Choices))
    start = np.asarray(getattr(space, "start", 0)) if is_counted_from_0 else np.asarray(0)
    return Finish("action.steps", chosen, WHOLE, tuple(space.shape or ()), start)


def _remedy(space: gym.Space[Any], result: Array) -> str:
    """Say what to do where a graph gives other floats than scores."""
    if not isinstance(space, Discrete) or prod(result.shape[1:]) != 1:
        return "say by action.steps how they make an action"
    argument = f"{{n: {space.n}, start: {space.start}}}" if space.start else space.n
    whole = f"if they are the actions, add `steps: [{{one_hot: {argument}}}]` to action"
    if space.n != BINARY:
        return whole
    return f"{whole}; if they are probabilities of the second action, `steps: [{{shift: 0.5}}, {{one_hot: 2}}]`"


def sizes_of(space: gym.Space[Any]) -> tuple[list[int], int]:
    """Count the values of each choice in an action, and the choices.

    Raises:
        ImportRefused: the space is none of choices along one axis.
    """
    if isinstance(space, Discrete):
        return [int(space.n)], 1
    if isinstance(space, MultiDiscrete) and space.nvec.ndim == 1:
        return space.nvec.tolist(), len(space.nvec)
    if isinstance(space, MultiBinary) and len(space.shape) == 1:
        return [2] * space.shape[0], space.shape[0]
    raise ImportRefused(f"action: expected Discrete, or MultiDiscrete or MultiBinary of one axis, got {short(space)}")


def _continuous(
    form: ContinuousForm | None,
    steps: tuple[Step | AtBounds, ...] | None,
    space: gym.Space[Any] | None,
    output: Array,
) -> tuple[Box, Finish]:
    low, high = _bounds(form, space)
    resolved = tuple(
        step if not isinstance(step, AtBounds) else between(low, high) if step.is_scaled else Clip(low, high)
        for step in steps or ()
    )
    result = computed("action.steps", resolved, output)
    if result.dtype.kind != "f" or result.ndim > MATRIX:
        raise ImportRefused(
            f"action: expected a row of floats for each observation, got {result.dtype} {result.shape[1:]}; say by "
            "action.steps how they make an action"
        )
    k = prod(result.shape[1:])
    if low.size not in {1, k} or high.size not in {1, k}:
        raise ImportRefused(
            f"action: expected {max(low.size, high.size)} numbers for each observation, as there are bounds, got {k}; "
            "add a step such as take"
        )
    lowest, highest = (np.broadcast_to(bound.ravel(), (k,)).astype(np.float32) for bound in (low, high))
    return Box(lowest, highest, dtype=np.float32), Finish("action.steps", resolved, FLOAT, (k,))


def _bounds(form: ContinuousForm | None, space: gym.Space[Any] | None) -> tuple[Doubles, Doubles]:
    """Bounds of the environment, or of the spec, which must be the same where both tell them."""
    stated = None if form is None else (np.array(form.low, np.float64), np.array(form.high, np.float64))
    if not isinstance(space, Box):
        if space is not None or stated is None:
            raise ImportRefused(f"action.continuous: expected the environment's actions, {short(space)}")
        return stated
    low, high = (bound.astype(np.float64).ravel() for bound in float32_bounds(space))
    if stated is not None and not all(
        given.size in {1, own.size} and np.allclose(given, own) for given, own in zip(stated, (low, high), strict=True)
    ):
        raise ImportRefused(f"action.continuous: expected the bounds of the environment's actions, {short(space)}")
    return low, high
