"""Mean and spread of numbers that come in a few at a time."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor

Number = TypeVar("Number", float, Tensor)


@dataclass(frozen=True, slots=True)
class Moments(Generic[Number]):
    """Mean and squares of numbers, or of each place of tensors."""

    count: Number
    """How many there were."""
    mean: Number
    squares: Number
    """Sum of the squares of their differences from the mean."""

    def joined(self, more: "Moments[Number]") -> "Moments[Number]":
        """Moments of these numbers and of more (Chan et al. 1979)."""
        total, delta = self.count + more.count, more.mean - self.mean
        squares = self.squares + more.squares + delta * delta * (self.count * more.count / total)
        return Moments(total, self.mean + delta * (more.count / total), squares)
