"""Least squares with a Gaussian prior, within bounds: Levenberg-Marquardt that holds fast what a bound stops."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from polserve.training.tasks.adbudget.curves.response import Floats

MOST_STEPS = 60
SMALLEST_GAIN = 0.03
"""A step that is expected to gain less, of squared standard deviations, is not worth taking."""
MOST_DAMPING = 1e6


@dataclass(frozen=True, slots=True)
class Prior:
    """What is known of the parameters beforehand; each array has one number for each."""

    mean: Floats
    deviation: Floats
    low: Floats
    high: Floats

    def draw(self, rng: np.random.Generator, factor: float = 1.0) -> "Prior":
        """Draw a prior around another mean, which is a normal number away, times `factor`."""
        shift = factor * self.deviation * rng.normal(size=len(self.mean))
        return Prior(self.mean + shift, self.deviation, self.low, self.high)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model predicts at some parameters."""

    parameters: Floats
    values: Floats  # (rows,)
    derivatives: Floats  # (rows, parameters)


Predict: TypeAlias = Callable[[Floats], Prediction]


@dataclass(frozen=True, slots=True)
class Observed:
    """What a prediction is held against."""

    values: Floats  # (rows,)
    own: Floats  # (rows,)
    """Weight of each row."""
    eve: Floats  # (rows,)
    """Weight of the row before, by what a row's noise keeps of that one's; 0 for the first row."""

    def whiten(self, rows: Floats) -> Floats:
        """Turn rows (rows, ...) into such whose noise is independent and of standard deviation 1."""
        return whiten(rows, self.own, self.eve)


@dataclass(frozen=True, slots=True)
class _Point:
    """Parameters, and the cost around them."""

    prediction: Prediction
    cost: float
    gradient: Floats
    curvature: Floats


def whiten(rows: Floats, own: Floats, eve: Floats) -> Floats:
    """Take from each of the rows (rows, ...), times its `own` weight, the row before times the weight `eve`.

    Each weight is (rows,); those of `Noise.weights` leave what is new in each row, of standard deviation 1.
    """
    found = own * rows.T
    found[..., 1:] -= eve[1:] * rows.T[..., :-1]
    return np.asarray(found.T)


def minimise(predict: Predict, observed: Observed, start: Prediction, prior: Prior) -> tuple[Prediction, float]:
    """Find the parameters of least cost near `start`; return what they predict, and the cost.

    The cost is the sum of the squared residuals, and of the squared distances to the prior's means in its deviations.
    """
    here, damping = _point(start, observed, prior), 1e-4
    for _ in range(MOST_STEPS):
        step = _step(here, prior, damping)
        if -here.gradient @ step < SMALLEST_GAIN and damping < 1:
            break
        moved = np.clip(here.prediction.parameters + step, prior.low, prior.high)
        there = _point(predict(moved), observed, prior)
        if there.cost < here.cost:
            here, damping = there, max(damping / 5, 1e-9)
        else:
            damping *= 6
        if damping > MOST_DAMPING:
            break
    return here.prediction, here.cost


def _step(here: _Point, prior: Prior, damping: float) -> Floats:
    """Step of the parameters that no bound stops."""
    at, gradient = here.prediction.parameters, here.gradient
    is_stopped = ((at <= prior.low) & (gradient > 0)) | ((at >= prior.high) & (gradient < 0))
    free = np.flatnonzero(~is_stopped)
    curvature = here.curvature[free[:, None], free]
    curvature.flat[:: len(free) + 1] *= 1 + damping
    step = np.zeros_like(at)
    step[free] = -np.linalg.solve(curvature, gradient[free])
    return step


def _point(prediction: Prediction, observed: Observed, prior: Prior) -> _Point:
    residual = observed.whiten(prediction.values - observed.values)
    derivatives = observed.whiten(prediction.derivatives)
    distance = (prediction.parameters - prior.mean) / prior.deviation
    curvature = derivatives.T @ derivatives
    curvature.flat[:: len(distance) + 1] += prior.deviation**-2
    gradient = derivatives.T @ residual + distance / prior.deviation
    return _Point(prediction, float(residual @ residual + distance @ distance), gradient, curvature)
