"""What an environment's wrappers do to observations, in torch: the first part of a network, and so of its graph.

The statistics of those that normalise are a part of the network's state: saved with its weights, and shared by its
target network. They are of all environments of a run, and nothing but training adds to them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polserve.training.environments.transforms import Cast, Rescale, Reshape, Standardise, Transform
from polserve.training.learning.moments import Moments

UNCHANGED = torch.finfo(torch.float64).max
"""Deviation in place of that of a number that was always the same: by it, whatever comes is 0."""
ROUNDING = 1e-15
"""Deviation relative to the mean up to which it is that of the rounding of equal numbers in float64."""


class Standardised(nn.Module):
    """Numbers less their means, by their standard deviations; in float64, since means may be large."""

    def __init__(self, known: Standardise) -> None:
        """Begin with the statistics that are known."""
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        self.count: Tensor
        self.register_buffer("mean", torch.tensor(known.mean))
        self.register_buffer("deviation", torch.tensor(np.sqrt(known.var + known.epsilon)))
        self.register_buffer("count", torch.tensor(known.count, dtype=torch.float64))
        self._epsilon = known.epsilon
        self._is_number: Tensor | None
        is_number = None if known.is_number is None else torch.from_numpy(known.is_number)
        self.register_buffer("_is_number", is_number, persistent=False)
        self.is_updated = known.is_updated
        """Whether training adds to the statistics."""

    def forward(self, observation: Tensor) -> Tensor:
        """Standardise observations (..., *shape) to float32; to float64 where some stay as they are."""
        given = observation.to(torch.float64)
        standardised = (given - self.mean) / self.deviation
        if self._is_number is None:
            return standardised.to(torch.float32)
        return torch.where(self._is_number, standardised, given)

    @torch.no_grad()
    def add(self, observations: Tensor) -> None:
        """Add observations (n, *shape) to the statistics."""
        given = observations.to(torch.float64)
        n = torch.full_like(self.count, len(given))
        var, mean = torch.var_mean(given, dim=0, correction=0)
        known = Moments(self.count, self.mean, self._variance() * self.count)
        joined = known.joined(Moments(n, mean, var * n))
        self.mean.copy_(joined.mean)
        deviation = torch.sqrt(joined.squares / joined.count + self._epsilon)
        self.deviation.copy_(torch.where(deviation > ROUNDING * joined.mean.abs(), deviation, UNCHANGED))
        self.count.copy_(joined.count)

    def _variance(self) -> Tensor:
        """Return the variance of what was seen."""
        is_unchanged = self.deviation == UNCHANGED
        return torch.where(is_unchanged, 0.0, self.deviation.square() - self._epsilon)


class Rescaled(nn.Module):
    """Numbers times a constant plus another, clipped."""

    def __init__(self, known: Rescale) -> None:
        super().__init__()
        for name in ("factor", "offset", "low", "high"):
            self.register_buffer(name, torch.tensor(getattr(known, name)), persistent=False)
        self._is_clipped = bool((known.low > -torch.inf).any() or (known.high < torch.inf).any())
        self._dtype = _dtype(known.dtype.name)
        self.factor: Tensor
        self.offset: Tensor
        self.low: Tensor
        self.high: Tensor

    def forward(self, observation: Tensor) -> Tensor:
        """Rescale observations (..., *shape)."""
        rescaled = observation.to(torch.float64) * self.factor + self.offset
        clipped = torch.maximum(torch.minimum(rescaled, self.high), self.low) if self._is_clipped else rescaled
        return clipped.to(self._dtype)


class Reshaped(nn.Module):
    """The same numbers in another shape."""

    def __init__(self, known: Reshape) -> None:
        super().__init__()
        self._axes, self._shape = len(known.before), known.after

    def forward(self, observation: Tensor) -> Tensor:
        """Reshape observations (..., *before)."""
        return observation.reshape(*observation.shape[: observation.ndim - self._axes], *self._shape)


class Converted(nn.Module):
    """The same numbers in another dtype."""

    def __init__(self, known: Cast) -> None:
        super().__init__()
        self._dtype = _dtype(known.dtype.name)

    def forward(self, observation: Tensor) -> Tensor:
        """Convert observations of any shape."""
        return observation.to(self._dtype)


class GraphWrappers(nn.Sequential):
    """From the observation that a policy is given to what its network learns from."""

    def __init__(self, transforms: Sequence[Transform] = ()) -> None:
        super().__init__(*map(_module, transforms))

    @torch.no_grad()
    def observe(self, observations: NDArray[Any]) -> None:
        """Add observations (n, *shape), each that the environments emitted once, to the statistics."""
        if not any(isinstance(module, Standardised) and module.is_updated for module in self):
            return
        given = torch.from_numpy(observations).to(next(self.buffers()).device)
        for module in self:
            if isinstance(module, Standardised) and module.is_updated:
                module.add(given)
            given = module(given)


def _module(transform: Transform) -> nn.Module:
    match transform:
        case Standardise():
            return Standardised(transform)
        case Rescale():
            return Rescaled(transform)
        case Reshape():
            return Reshaped(transform)
        case Cast():
            return Converted(transform)


def _dtype(name: str) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, name)
    return dtype
