"""Any ONNX graph with a spec beside it, made an imported policy."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete

from polserve.training.environments.descriptions import Description
from polserve.training.errors import ImportRefused
from polserve.training.imports.graphs.actions import action_of, values_of
from polserve.training.imports.graphs.composing import Parts, compose
from polserve.training.imports.graphs.form import AtBounds, GraphForm, Numbers, ObservationForm
from polserve.training.imports.graphs.heads import join_heads
from polserve.training.imports.graphs.original import Original
from polserve.training.imports.graphs.reading import check_has_no_halves, read_graph
from polserve.training.imports.graphs.states import check_states
from polserve.training.imports.graphs.steps import Array
from polserve.training.imports.graphs.wiring import wire
from polserve.training.imports.imported import ImportedPolicy, Source
from polserve.training.imports.observations import drawn
from polserve.training.imports.places import Place
from polserve.training.imports.within import check_within

TRIED = 64
"""Observations on which a graph is tried before it is compared with the original."""


def read_onnx(path: Path, form: GraphForm, place: Place) -> ImportedPolicy:
    """Make an imported policy of an ONNX graph.

    Args:
        path: the graph's file.
        form: the spec beside it.
        place: where it acts.

    Raises:
        ImportRefused: the file is no such graph, or the spec does not fit it.
    """
    model = read_graph(path)
    space = _observation_space(form.observation, place)
    notes = check_states(model.graph, form)
    form = join_heads(model, form)
    wiring = wire(model.graph, form, space.shape, _names(form, place))
    check_has_no_halves(path, model.graph, {wired.name for wired in wiring.inputs} | set(wiring.outputs))
    original = Original(path, model, wiring)
    observations = drawn(space, TRIED)
    original.find_batching(observations)
    raw = original.run(observations)
    known = place.facts.action_space if place.facts else None
    action_space, action = action_of(form.action, wiring.action.steps, known, raw[wiring.action.name])
    values = None
    if wiring.values is not None:
        if not isinstance(action_space, Discrete):
            raise ImportRefused("values: expected them beside discrete actions only; leave them out")
        values = values_of(wiring.values.steps, int(action_space.n), raw[wiring.values.name])
    parts = Parts(path, model, wiring, original, action, values, space)
    is_scaled = any(isinstance(step, AtBounds) and step.is_scaled for step in wiring.action.steps or ())
    graph, is_by_rows = compose(parts, observations)
    asked = _Asked(parts, action_space)
    asked.actions(observations)
    return ImportedPolicy(
        algorithm=form.algorithm,
        graph=graph,
        observation_space=space,
        action_space=action_space,
        source=Source.of(path, form.tool, form.algorithm),
        original=asked.actions,
        original_name="the graph as it came",
        preferences=asked.values if values else None,
        description=_description(form),
        emitted_space=place.facts.emitted_space if place.facts else None,
        frames=form.observation.frames if form.observation else 0,
        remedy_if_unscaled="" if is_scaled else _UNSCALED,
        notes=(*notes, *((_BY_ROWS,) if is_by_rows else ())),
    )


_BY_ROWS = (
    "the graph takes observations in batches of fixed size, or one without a batch: it is run once for each of them; "
    "exported with a dynamic first axis, it would answer many at once faster"
)


_UNSCALED = "if the graph ends in tanh, add to_bounds to action.steps"
_REMEDY = (
    "add to action.steps what the trainer did: argmax chooses of scores, to_bounds scales from [-1, 1], clip: bounds "
    "cuts off"
)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the graph as it came answers, with the steps around it."""

    parts: Parts
    space: gym.Space[object]

    def actions(self, observations: Array) -> Array:
        """Actions for observations (n, *shape), checked to be ones of their space."""
        raw = self.parts.original.run(observations)
        actions = self.parts.action.compute(raw[self.parts.wiring.action.name])
        check_within(self.parts.path.name, self.space, actions, _REMEDY)
        return actions

    def values(self, observations: Array) -> Array:
        """Values (n, actions) for observations (n, *shape)."""
        output, finish = self.parts.wiring.values, self.parts.values
        if output is None or finish is None:
            raise ImportRefused(f"{self.parts.path.name}: expected values, the spec maps none")
        return finish.compute(self.parts.original.run(observations)[output.name])


def _observation_space(form: ObservationForm | None, place: Place) -> Box:
    """Space of the environment's observations, stacked as the spec says, or where it is not installed the spec's."""
    if place.facts is None:
        if form is None:
            raise ImportRefused(
                f"observation: expected dtype and shape of one observation, since {place.missing}; got none"
            )
        return _stated_space(form)
    space = place.facts.observation_space
    if form is None:
        return space
    stated = _stated_space(form)
    if form.frames:
        low, high = (np.repeat(bound[np.newaxis], form.frames, axis=0) for bound in (space.low, space.high))
        space = Box(low, high, dtype=space.dtype.type)
    if (stated.shape, stated.dtype) != (space.shape, space.dtype):
        raise ImportRefused(
            f"observation: expected {space.dtype.name} {space.shape}, as {place.environment.id} has, got "
            f"{stated.dtype.name} {stated.shape}"
        )
    return space


def _stated_space(form: ObservationForm) -> Box:
    shape, dtype = tuple(form.shape), np.dtype(form.dtype)
    if form.frames and (len(shape) <= 1 or form.frames != shape[0]):
        raise ImportRefused(
            f"observation.frames: expected the first of two or more axes in shape, the stack included, got "
            f"{form.frames} and {list(shape)}"
        )
    low, high = (_bound(name, bound, shape, dtype) for name, bound in (("low", form.low), ("high", form.high)))
    if not np.less(low, high).all():
        raise ImportRefused(f"observation.low: expected below high, got {form.low} and {form.high}")
    return Box(low, high, shape, dtype.type)


def _bound(name: str, bound: Numbers, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    numbers = np.array(bound, np.float64)
    if numbers.ndim and numbers.size != prod(shape):
        raise ImportRefused(f"observation.{name}: expected a number, or {prod(shape)} of them, got {numbers.size}")
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        numbers = np.clip(numbers, limits.min, limits.max)
    elif dtype.kind == "b":
        numbers = np.clip(numbers, 0, 1)
    spread = numbers.reshape(shape) if numbers.ndim else np.full(shape, numbers)
    return spread.astype(dtype)


def _description(form: GraphForm) -> Description:
    """Names and units that the spec tells."""
    observed = form.observation.components if form.observation else []
    acted = form.action.continuous.components if form.action.continuous else []
    return Description(
        components=tuple((component.name, component.unit) for component in observed),
        labels=tuple(form.action.discrete.labels) if form.action.discrete else (),
        action_components=tuple((component.name, component.unit) for component in acted),
    )


def _names(form: GraphForm, place: Place) -> dict[str, Sequence[int]]:
    """Places by name: components of the spec, else of the environment, and the parts of a Dict or a Tuple."""
    if form.observation is not None and form.observation.components:
        return {component.name: [i] for i, component in enumerate(form.observation.components)}
    if place.facts is None:
        return {}
    layout = place.facts.layout
    parts = (
        {part.name: range(part.offset, part.offset + part.size) for part in layout.parts if part.path} if layout else {}
    )
    components = {name: range(i, i + 1) for i, (name, _) in enumerate(place.facts.description.components)}
    return {**components, **parts}
