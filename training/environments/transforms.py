"""What wrappers do to observations, as plain data: found in Gymnasium's, computed here, and put into graphs elsewhere.

A wrapper is in this form where a graph can do exactly what it does. Light to import: the same in torch is
`learning.graph_wrappers`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium import wrappers
from gymnasium.spaces import Box
from numpy.typing import NDArray

from polserve.training.environments.spaces import CARRIED, carried

Floats: TypeAlias = NDArray[np.float64]

SPREAD = np.concatenate([-np.logspace(9, -4, 27), [0.0], np.logspace(-4, 9, 27)])
"""Numbers at which a function of unbounded observations is tried."""
N_MIXED = 64
"""Observations, of such numbers in random places, that decide whether the function was understood."""
SMALL = 1e-3
"""Part of the usual number below which differences are those of its rounding."""
TOLERANCE = 1e-5
"""Largest difference, relative to the number, between a function and how it was understood: that of float32."""

MOST_DEVIATIONS = 10.0
"""Standard deviations from the mean at which standardised observations are clipped."""


@dataclass(frozen=True, slots=True)
class Standardise:
    """Each number less its mean and by its standard deviation, both of what was seen so far."""

    mean: Floats
    var: Floats
    count: float
    """How many observations the mean and the variance are of."""
    epsilon: float
    """Added to the variance; at 0, a number that was always the same becomes 0."""
    is_updated: bool = True
    """Whether training goes on to update the statistics; an evaluation never does."""
    is_number: NDArray[np.bool_] | None = None
    """Where (*shape) it is done, in an observation that has more than numbers in it; None for everywhere."""

    def __call__(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Standardise observations (..., *shape)."""
        standardised = (observations - self.mean) / np.sqrt(self.var + self.epsilon)
        if self.is_number is None:
            return standardised.astype(np.float32)
        return np.where(self.is_number, standardised, observations).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Rescale:
    """Each number times a constant plus another, clipped."""

    factor: Floats
    offset: Floats
    low: Floats
    """Where the results are clipped; -inf where they are not."""
    high: Floats
    dtype: np.dtype[Any]

    def __call__(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Rescale observations (..., *shape)."""
        return np.clip(observations * self.factor + self.offset, self.low, self.high).astype(self.dtype)


@dataclass(frozen=True, slots=True)
class Reshape:
    """The same numbers in another shape."""

    before: tuple[int, ...]
    after: tuple[int, ...]

    def __call__(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Reshape observations (..., *before)."""
        return observations.reshape(*observations.shape[: observations.ndim - len(self.before)], *self.after)


@dataclass(frozen=True, slots=True)
class Cast:
    """The same numbers in another dtype."""

    dtype: np.dtype[Any]

    def __call__(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Cast observations of any shape."""
        return observations.astype(self.dtype)


Transform: TypeAlias = Standardise | Rescale | Reshape | Cast


def transform_of(layer: gym.Env[Any, Any], inner: gym.Env[Any, Any]) -> Transform | None:
    """Find what a wrapper does to the observations of `inner`; None where a graph cannot do it."""
    before, after = inner.observation_space, layer.observation_space
    if not (is_carried(before) and is_carried(after)):
        return None
    assert isinstance(before, Box)  # noqa: S101 - for the type checker
    assert isinstance(after, Box)  # noqa: S101 - likewise
    found: Transform | None = None
    if type(layer) is wrappers.NormalizeObservation:
        seen = layer.obs_rms
        found = Standardise(
            np.array(seen.mean, np.float64),
            np.array(seen.var, np.float64),
            float(seen.count),
            float(layer.epsilon),
            bool(layer.update_running_mean),
        )
    elif type(layer) in {wrappers.FlattenObservation, wrappers.ReshapeObservation}:
        found = Reshape(before.shape, after.shape)
    elif type(layer) is wrappers.DtypeObservation:
        found = Cast(after.dtype)
    elif isinstance(layer, wrappers.TransformObservation) and _does_no_more(type(layer)):
        found = rescaling(layer.func, before, after)
    return found


def _does_no_more(kind: type[wrappers.TransformObservation[Any, Any, Any]]) -> bool:
    """Whether wrappers of a kind only put observations through their function."""
    names = ("observation", "reset", "step")
    return all(getattr(kind, name) is getattr(wrappers.TransformObservation, name) for name in names)


def transformed(transforms: tuple[Transform, ...], observations: NDArray[Any]) -> NDArray[Any]:
    """Compute what the transforms, one after the other, make of observations (..., *shape)."""
    for transform in transforms:
        observations = transform(observations)
    return observations


def standardising(shape: tuple[int, ...], is_number: NDArray[np.bool_] | None = None) -> tuple[Standardise, Rescale]:
    """Make transforms that standardise observations by statistics that are still to come, and bound the results.

    The bound is that of Stable-Baselines3's VecNormalize: a number that hardly ever changed must not drown the others.
    Nothing stands in for what was not seen yet, and nothing is added to a variance, as Gymnasium's wrapper does: at a
    mean of a million or a deviation of a millionth, either would outweigh what was seen.

    Where `is_number` (*shape) is false, what is there stays as it is, in float64, which holds every category.
    """
    whole = Standardise(np.zeros(shape), np.ones(shape), 0.0, 0.0, is_number=is_number)
    bound = np.full(shape, MOST_DEVIATIONS) if is_number is None else np.where(is_number, MOST_DEVIATIONS, np.inf)
    dtype = np.dtype(np.float32 if is_number is None else np.float64)
    return whole, Rescale(np.ones(shape), np.zeros(shape), -bound, bound, dtype)


def rescaling(function: Callable[[Any], Any], before: Box, after: Box) -> Rescale | None:
    """Find the constants by which a function rescales and clips each number; None where it does anything else.

    The function is tried: at the same number in every place, from the lowest to the highest, and then at random ones,
    which decide.
    """
    if before.shape != after.shape:
        return None
    columns = _tried(before)
    try:
        values = np.stack([np.asarray(function(np.array(column)), np.float64) for column in columns])
        if values.shape != columns.shape or not np.isfinite(values).all():
            return None
        found = _fitted(columns.astype(np.float64), values, after.dtype)
        rng = np.random.default_rng(0)
        mixed = np.stack([rng.permuted(columns, axis=0)[0] for _ in range(N_MIXED)])
        given = np.stack([np.asarray(function(np.array(row)), np.float64) for row in mixed])
    except Exception:  # noqa: BLE001 - whatever a function of the user's own raises: it is no rescaling then
        return None
    size = _size(found.offset, values)
    is_understood = _near(found(mixed), given, size).all() and _near(found(columns), values, size).all()
    return found if is_understood else None


def is_carried(space: gym.Space[Any]) -> bool:
    """Whether a policy version can take observations of the space as they are."""
    return isinstance(space, Box) and bool(space.shape) and space.low.size > 0 and carried(space).dtype.name in CARRIED


def _tried(box: Box) -> NDArray[Any]:
    """Numbers (n, *shape) from the lowest to the highest, within the bounds where there are some."""
    low, high = box.low.astype(np.float64), box.high.astype(np.float64)
    is_bounded = np.isfinite(low) & np.isfinite(high)
    part = np.linspace(0, 1, len(SPREAD)).reshape(-1, *[1] * low.ndim)
    with np.errstate(invalid="ignore", over="ignore"):
        inside = low * (1 - part) + high * part
    columns = np.where(is_bounded, inside, np.clip(SPREAD.reshape(part.shape), low, high))
    return (columns if box.dtype.kind == "f" else np.rint(columns)).astype(box.dtype)


def _fitted(columns: Floats, values: Floats, dtype: np.dtype[Any]) -> Rescale:
    """Constants by which the values (n, *shape) would follow from the columns (n, *shape), whether they do or not."""
    lowest, highest = values.min(axis=0), values.max(axis=0)
    is_between = (values > lowest) & (values < highest)
    first, last = is_between.argmax(axis=0), len(values) - 1 - is_between[::-1].argmax(axis=0)
    x_0, x_1 = (np.take_along_axis(columns, index[None], 0)[0] for index in (first, last))
    y_0, y_1 = (np.take_along_axis(values, index[None], 0)[0] for index in (first, last))
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(x_1 != x_0, (y_1 - y_0) / (x_1 - x_0), 0.0)
    nearest = np.where(is_between, np.abs(columns), np.inf).argmin(axis=0)[None]  # there, rounding is least
    offset = np.take_along_axis(values, nearest, 0)[0] - factor * np.take_along_axis(columns, nearest, 0)[0]
    line = columns * factor + offset
    size = _size(offset, values)
    is_low, is_high = ((_near(values, end, size) & ~_near(line, end, size)).any(axis=0) for end in (lowest, highest))
    return Rescale(
        factor, offset, np.where(is_low, lowest, -np.inf), np.where(is_high, highest, np.inf), np.dtype(dtype)
    )


def _size(offset: Floats, values: Floats) -> Floats:
    """Size of numbers (*shape) that are rounded on the way to the values (n, *shape)."""
    return np.maximum(np.abs(offset), np.median(np.abs(values), axis=0) * SMALL)


def _near(values: Floats, others: Floats, size: Floats) -> NDArray[np.bool_]:
    """Where the values are the others, but for the rounding of them and of numbers of the size."""
    return np.abs(values - others) <= TOLERANCE * np.maximum(size, np.abs(others))
