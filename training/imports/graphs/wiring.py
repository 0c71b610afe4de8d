"""Which part of an observation goes to which input of a graph, and which outputs make the action and the values."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
import onnx

from polserve.training.errors import ImportRefused
from polserve.training.imports.graphs.arguments import StepFault
from polserve.training.imports.graphs.form import AtBounds, GraphForm, InputForm
from polserve.training.imports.graphs.steps import Array, Step

Dims: TypeAlias = tuple[int | None, ...]
"""Extent of each axis, None where it is dynamic."""
Names: TypeAlias = Mapping[str, Sequence[int]]
"""Places in a flattened observation by the name of what stands there."""
MATRIX = 2
"""Axes of an output with a row for each observation."""


@dataclass(frozen=True, slots=True)
class GraphInput:
    """One input of the graph, and what it is given."""

    name: str
    dtype: np.dtype[Any]
    dims: Dims | None
    """As the graph declares them, the batch included; None where it declares none."""
    columns: tuple[int, ...] | None = None
    """Numbers of the flattened observation; None for the observation as it is."""
    steps: tuple[Step, ...] = ()
    value: Array | None = None
    """A constant, in place of anything of the observation: one row of it where the first axis is dynamic."""

    @property
    def is_constant(self) -> bool:
        """Whether it sees nothing of the observation."""
        return self.value is not None

    @property
    def is_constant_by_row(self) -> bool:
        """Whether it is given a constant for each row of a batch."""
        return self.is_constant and bool(self.dims) and self.dims is not None and self.dims[0] is None


@dataclass(frozen=True, slots=True)
class GraphOutput:
    """One output of the graph, and the steps after it; None for steps that its type suggests."""

    name: str
    steps: tuple[Step | AtBounds, ...] | None


@dataclass(frozen=True, slots=True)
class Wiring:
    """What goes into the graph, and what comes out of it."""

    inputs: tuple[GraphInput, ...]
    action: GraphOutput
    values: GraphOutput | None

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs that are read."""
        names = [self.action.name, *([self.values.name] if self.values else [])]
        return list(dict.fromkeys(names))


def wire(graph: onnx.GraphProto, form: GraphForm, shape: Sequence[int], names: Names) -> Wiring:
    """Map a graph's inputs and outputs by the spec.

    Args:
        graph: the graph.
        form: the spec.
        shape: of one observation.
        names: places in the flattened observation by the names of its components and parts, where they are known.

    Raises:
        ImportRefused: an input is left out, or a name is none of the graph's.
    """
    given = {tensor.name for tensor in graph.initializer}
    found = {node.name: node for node in graph.input if node.name not in given}  # older files list weights too
    forms = form.inputs or _only(found, form)
    for i, part in enumerate(forms):
        require_name(f"inputs.{i}.name", part.name, found, "input")
    if left := [name for name in found if name not in {part.name for part in forms}]:
        raise ImportRefused(
            f"inputs: expected every input of the graph, {', '.join(map(repr, left))} is left out: give it a part of "
            "the observation by `take`, or a constant by `value`"
        )
    inputs = tuple(_input(i, part, found[part.name], shape, names) for i, part in enumerate(forms))
    if all(part.is_constant for part in inputs):
        raise ImportRefused("inputs: expected one that takes the observation, got constants only")
    return Wiring(inputs, *_outputs(graph, form))


def _only(found: Mapping[str, Any], form: GraphForm) -> list[InputForm]:
    """Form of a graph's one input, which may be left out."""
    if len(found) != 1:
        raise ImportRefused(
            f"inputs: expected a list that maps each input of the graph, {', '.join(map(repr, found)) or 'none'}, to a "
            f"part of the observation, got {'an empty list' if form.inputs == [] else 'none'}"
        )
    return [InputForm(name=next(iter(found)))]


def _outputs(graph: onnx.GraphProto, form: GraphForm) -> tuple[GraphOutput, GraphOutput | None]:
    names = [node.name for node in graph.output]
    action = form.action.output
    if not isinstance(action, str):  # a list was joined to one before
        others = [name for name in names if form.values is None or name != form.values.output] or names
        if len(others) != 1:
            raise ImportRefused(
                f"action.output: expected the name of the output that makes the action, got none, and the graph has "
                f"{', '.join(map(repr, names))}"
            )
        action = others[0]
    require_name("action.output", action, names, "output")
    steps = form.action.steps
    made = GraphOutput(action, None if steps is None else tuple(steps))
    if form.values is None:
        return made, None
    require_name("values.output", form.values.output, names, "output")
    return made, GraphOutput(form.values.output, tuple(form.values.steps))


def require_name(field: str, name: str, names: Iterable[str], what: str) -> None:
    """Raise ImportRefused where a field names no input or output of the graph."""
    if name not in names:
        raise ImportRefused(f"{field}: expected an {what} of the graph, {', '.join(map(repr, names))}, got {name!r}")


def _input(index: int, form: InputForm, node: onnx.ValueInfoProto, shape: Sequence[int], names: Names) -> GraphInput:
    where = f"inputs.{index}"
    declared = node.type.tensor_type
    if not node.type.HasField("tensor_type") or not declared.elem_type:
        raise ImportRefused(f"{where}: expected {form.name!r} to be a tensor, got {node.type.WhichOneof('value')}")
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(declared.elem_type))
    dims = dims_of(node)
    if form.value is None:
        columns = _columns(where, form, prod(shape), names)
        return GraphInput(form.name, dtype, dims, columns, tuple(form.steps))
    if form.take is not None or form.steps:
        raise ImportRefused(f"{where}: expected a value, or take and steps, got both for {form.name!r}")
    return GraphInput(form.name, dtype, dims, value=_constant(where, form, dtype, dims))


def dims_of(node: onnx.ValueInfoProto) -> Dims | None:
    """Extents that the graph declares of an input or an output; None where it declares none."""
    declared = node.type.tensor_type
    if not declared.HasField("shape"):
        return None
    return tuple(dim.dim_value if dim.dim_value > 0 else None for dim in declared.shape.dim)


def _constant(where: str, form: InputForm, dtype: np.dtype[Any], dims: Dims | None) -> Array:
    value = np.array(form.value, dtype)
    if dims is None:
        return value
    wanted = (1, *dims[1:]) if dims and dims[0] is None else dims
    if None in wanted:
        raise ImportRefused(f"{where}.value: expected an input of known shape, {form.name!r} has {list(dims)}")
    try:
        return np.broadcast_to(value, [extent or 0 for extent in wanted]).copy()
    except ValueError as error:
        raise ImportRefused(f"{where}.value: expected {list(wanted)} numbers or one, got {form.value}") from error


def _columns(where: str, form: InputForm, n: int, names: Names) -> tuple[int, ...] | None:
    """Numbers of the flattened observation that an input takes."""
    if form.take is None:
        return None
    if isinstance(form.take, tuple):
        begin, end = form.take
        if not 0 <= begin < end <= n:
            raise ImportRefused(
                f"{where}.take: expected [from, to] within the observation's {n} numbers, got {list(form.take)}"
            )
        return tuple(range(begin, end))
    wanted = [form.take] if isinstance(form.take, str) else form.take
    if unknown := [name for name in wanted if name not in names]:
        known = ", ".join(names) or "none, since observation.components names none"
        raise ImportRefused(f"{where}.take: expected names of components, {known}, got {', '.join(unknown)}")
    return tuple(column for name in wanted for column in names[name])


def computed(where: str, steps: Iterable[Step], array: Array) -> Array:
    """Compute the steps one after another.

    Raises:
        ImportRefused: a step does not fit what it is given.
    """
    for i, step in enumerate(steps):
        try:
            array = step.compute(array)
        except (StepFault, ValueError) as fault:
            raise ImportRefused(
                f"{where}.{i}: {type(step).__name__.lower()} does not fit an array of {array.shape[1:]}: {fault}"
            ) from fault
    return array


def prepared(wired: GraphInput, observations: Array) -> Array:
    """Compute by numpy what an input is given for observations (n, *shape)."""
    flat = observations.reshape(len(observations), -1)
    array = observations if wired.columns is None else flat[:, list(wired.columns)]
    return computed(f"inputs.{wired.name}.steps", wired.steps, array).astype(wired.dtype)
