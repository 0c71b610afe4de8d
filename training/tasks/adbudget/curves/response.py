"""How sales respond to spends: adstock carries a spend over to later days, saturation bends what it brings.

The families of Meridian, PyMC-Marketing and Robyn: geometric adstock, normalised so that a steady spend is its own
adstock, begun some days after the spend where there is a lag; and Hill (Michaelis-Menten at slope 1) or logistic
saturation. Up to slope 1 curves are concave; above it they are S-shaped.
"""

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from polserve.training.errors import require

Floats: TypeAlias = NDArray[np.float64]
Numbers: TypeAlias = Floats | float
Saturation = Literal["hill", "logistic"]
STEEPEST = 10.0
"""Greatest slope that is taken: the limit of Robyn's alpha."""
MOST_LAG_DAYS = 27
"""A spend that has not begun to work must still be among the past spends that an allocator reads."""
SMALLEST_SHARE = 1e-9
"""Least adstock that derivatives are taken at, to the half saturation: at 0, that of a Hill curve may be infinite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One advertising channel and how sales respond to it."""

    name: str
    retention: float
    """Share of the adstock that is left a day later, in [0, 1)."""
    half_saturation: float
    """Adstock, in money a day, that brings half of `sales_max`."""
    sales_max: float
    """Sales a day that no spend exceeds, on a day of demand 1."""
    slope: float = 1.0
    """Exponent of the Hill curve, in (0, 10]: 1 is Michaelis-Menten, above it the curve is S-shaped."""
    saturation: Saturation = "hill"
    lag_days: int = 0
    """Days between a spend and its first effect."""

    def __post_init__(self) -> None:
        """Check the ranges; raises InvalidOption."""
        require(0 <= self.retention < 1, f"{self.name}: retention", "a number from 0 to below 1", self.retention)
        for name in ("half_saturation", "sales_max"):
            value = getattr(self, name)
            require(math.isfinite(value) and value > 0, f"{self.name}: {name}", "a positive number", value)
        kinds = get_args(Saturation)
        require(self.saturation in kinds, f"{self.name}: saturation", " or ".join(kinds), self.saturation)
        require(0 < self.slope <= STEEPEST, f"{self.name}: slope", f"a number above 0, up to {STEEPEST:g}", self.slope)
        is_lag = isinstance(self.lag_days, int) and 0 <= self.lag_days <= MOST_LAG_DAYS
        require(is_lag, f"{self.name}: lag_days", f"whole days from 0 to {MOST_LAG_DAYS}", self.lag_days)

    @property
    def is_concave(self) -> bool:
        """Whether each further unit of adstock sells less than the one before."""
        return self.saturation == "logistic" or self.slope <= 1

    @property
    def inflection(self) -> float:
        """Adstock up to which the curve bends upward; 0 where it is concave."""
        if self.is_concave:
            return 0.0
        return float(self.half_saturation * ((self.slope - 1) / (self.slope + 1)) ** (1 / self.slope))


def hill(adstock: Numbers, half_saturation: Numbers, slope: Numbers) -> Floats:
    """Share of the most sales, in [0, 1): adstock^slope / (adstock^slope + half_saturation^slope)."""
    power = (np.asarray(adstock, np.float64) / half_saturation) ** np.asarray(slope, np.float64)
    return np.asarray(power / (1 + power))


def michaelis_menten(adstock: Numbers, half_saturation: Numbers) -> Floats:
    """Share of the most sales, in [0, 1): the Hill curve of slope 1."""
    return hill(adstock, half_saturation, 1.0)


def logistic(adstock: Numbers, half_saturation: Numbers) -> Floats:
    """Share of the most sales, in [0, 1): (1 - e^-x) / (1 + e^-x), which is 1/2 where x = ln 3."""
    return np.tanh(math.log(3) / 2 * np.asarray(adstock, np.float64) / half_saturation)


def geometric_adstock(spends: Floats, retention: Numbers, initial: Numbers = 0.0) -> Floats:
    """Adstock (days, ...) of spends (days, ...): retention * the day before's + (1 - retention) * the spend."""
    retained = np.asarray(retention, np.float64)
    adstock = np.empty_like(spends)
    carried = np.asarray(initial, np.float64)
    for day, spend in enumerate(spends):
        carried = retained * carried + (1 - retained) * spend
        adstock[day] = carried
    return adstock


_PARAMETERS = ("retention", "half_saturation", "sales_max", "slope", "lag_days", "_is_logistic")


class Response:
    """The channels of an account together; arrays have the channels as their last axis."""

    def __init__(self, channels: Sequence[Channel]) -> None:
        self.channels = tuple(channels)
        self.retention = np.array([channel.retention for channel in channels])
        self.half_saturation = np.array([channel.half_saturation for channel in channels])
        self.sales_max = np.array([channel.sales_max for channel in channels])
        self.slope = np.array([channel.slope for channel in channels])
        self.lag_days = np.array([channel.lag_days for channel in channels])
        self._is_logistic = np.array([channel.saturation == "logistic" for channel in channels])

    @classmethod
    def of_each(cls, accounts: Sequence[Sequence[Channel]]) -> "Response":
        """Channels of n accounts side by side, as many in each: for adstock (n, days, channels)."""
        response = cls([channel for channels in accounts for channel in channels])
        for name in _PARAMETERS:
            setattr(response, name, getattr(response, name).reshape(len(accounts), 1, -1))
        return response

    @classmethod
    def repeated(cls, channels: Sequence[Channel], n: int) -> "Response":
        """`channels` n times, for adstock (n, channels); `put` changes one of them."""
        response = cls(channels)
        for name in _PARAMETERS:
            setattr(response, name, np.tile(getattr(response, name), (n, 1)))
        return response

    def of(self, rows: NDArray[np.intp]) -> "Response":
        """Choose some of the accounts, or of the campaigns, that stand side by side."""
        some = copy(self)
        for name in _PARAMETERS:
            setattr(some, name, getattr(self, name)[rows])
        return some

    def put(self, index: int, channels: Sequence[Channel]) -> None:
        """Let campaign `index` of a repeated response respond as `channels` do."""
        own = Response(channels)
        for name in _PARAMETERS:
            getattr(self, name)[index] = getattr(own, name)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the channels."""
        return tuple(channel.name for channel in self.channels)

    def sales(self, adstock: Floats) -> Floats:
        """Sales a day (..., channels) of the adstock (..., channels), on a day of demand 1."""
        share = hill(adstock, self.half_saturation, self.slope)
        if self._is_logistic.any():
            share = np.where(self._is_logistic, logistic(adstock, self.half_saturation), share)
        return np.asarray(self.sales_max * share)

    def marginal_sales(self, adstock: Floats) -> Floats:
        """Compute the derivative of `sales` by the adstock (..., channels)."""
        adstock = np.maximum(adstock, SMALLEST_SHARE * self.half_saturation)
        share = hill(adstock, self.half_saturation, self.slope)
        slope = self.slope * share * (1 - share) / adstock
        if self._is_logistic.any():
            rate = math.log(3) / 2 / self.half_saturation
            bent = rate * (1 - logistic(adstock, self.half_saturation) ** 2)
            slope = np.where(self._is_logistic, bent, slope)
        return np.asarray(self.sales_max * slope)

    def saturation_rate(self, adstock: Floats) -> Floats:
        """How fast `marginal_sales` falls with the adstock (..., channels): the second derivative, negated.

        Below 0 where an S-shaped curve still bends upward.
        """
        adstock = np.maximum(adstock, SMALLEST_SHARE * self.half_saturation)
        share = hill(adstock, self.half_saturation, self.slope)
        relative = (1 - self.slope * (1 - 2 * share)) / adstock
        if self._is_logistic.any():
            tangent = logistic(adstock, self.half_saturation)
            relative = np.where(self._is_logistic, math.log(3) / self.half_saturation * tangent, relative)
        return np.asarray(self.marginal_sales(adstock) * relative)
