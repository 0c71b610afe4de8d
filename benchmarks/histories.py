"""Simulated histories whose truth is known, of kinds that mislead a fit of response curves."""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from polserve.training.tasks.adbudget.accounts import CHANNELS
from polserve.training.tasks.adbudget.contexts import WEEKDAY_DEMAND
from polserve.training.tasks.adbudget.curves.response import Channel, Response, geometric_adstock
from polserve.training.tasks.adbudget.history.history import History, Truth, simulate_history

Kind: TypeAlias = Literal[
    "clean", "season", "growth", "both", "collinear", "dead", "logistic", "s-shaped", "autocorrelated"
]
KINDS: tuple[Kind, ...] = get_args(Kind)
CONCAVE = KINDS[:6]
"""Kinds whose curves both polserve and its rival have in their families."""
CONCAVE_SLOPES, S_SHAPED_SLOPES = (0.7, 1.0), (1.2, 3.0)
"""Ranges of the exponents of Hill curves."""
Floats: TypeAlias = NDArray[np.float64]
CHANNELS_OF_EACH = 3
DAYS = 730
SEASON = 0.15
"""Of sales, up and down over a year."""
GROWTH = 1.4
"""Of sales, in a year."""
NOISE = 0.05
"""Standard deviation of the logarithm of a day's sales."""
NOISE_KEPT = 0.9
"""Share of the noise of the day before that autocorrelated noise keeps; its standard deviation is as of the other."""
COLLINEAR_NOISE = 0.25
"""Standard deviation of the logarithm of two channels' spends to each other: their correlation is about 0.95."""
DAYS_A_YEAR = 365.25


@dataclass(frozen=True, slots=True)
class Simulated:
    """A history, and the channels that it was made of, on a day of average demand."""

    history: History
    channels: tuple[Channel, ...]

    def sales(self, index: int, spend: float) -> float:
        """Sales a day of a steady spend on one channel; none of a dead one."""
        channel = self.channels[index]
        return float(Response([channel]).sales(np.array([[spend]]))[0, 0]) if channel.sales_max > DEAD else 0.0


DEAD = 1e-6
"""Most sales of a channel that sells nothing, since channels sell something."""


def simulate(kind: Kind, seed: int) -> Simulated:
    """Simulate a history of two years; where demand moves, it moves what advertising sells in every other one."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    channels = _channels(rng, S_SHAPED_SLOPES if kind == "s-shaped" else CONCAVE_SLOPES)
    if kind == "logistic":
        channels = tuple(replace(channel, saturation="logistic", slope=1.0) for channel in channels)
    base = sum(channel.sales_max for channel in channels) * rng.uniform(0.3, 1.0)
    history = simulate_history(Truth(channels=channels, base_sales=base), DAYS, rng)
    demand = _demand(kind, rng)
    spends = history.spends * demand[:, None]  # budgets follow season and growth
    if kind == "collinear":
        alike = spends[:, 0] / spends[:, 0].mean() * rng.lognormal(0, COLLINEAR_NOISE, DAYS)
        spends[:, 1] = spends[:, 1].mean() * alike
    if kind == "dead":
        channels = (replace(channels[0], sales_max=DEAD), *channels[1:])
    response = Response(channels)
    sold = response.sales(geometric_adstock(spends, response.retention)).sum(axis=1)
    expected = demand * (base + sold) if seed % 2 else demand * base + sold
    week = np.array(WEEKDAY_DEMAND)[history.weekday]
    sales = week * expected * _noise(kind, rng)
    return Simulated(replace(history, spends=spends, sales=sales), channels)


def _channels(rng: np.random.Generator, slopes: tuple[float, float]) -> tuple[Channel, ...]:
    """Channels of the simulator with other sizes, carry-over and slopes."""
    known = tuple(CHANNELS.values())
    chosen = rng.choice(len(known), CHANNELS_OF_EACH, replace=False)
    return tuple(
        replace(
            known[index],
            half_saturation=known[index].half_saturation * rng.lognormal(0, 0.5),
            sales_max=known[index].sales_max * rng.lognormal(0, 0.5),
            retention=float(np.clip(known[index].retention + rng.normal(0, 0.1), 0, 0.9)),
            slope=float(rng.uniform(*slopes)),
        )
        for index in chosen
    )


def _demand(kind: Kind, rng: np.random.Generator) -> Floats:
    """Demand of each day (days,), of mean 1."""
    years = np.arange(DAYS) / DAYS_A_YEAR
    demand = np.ones(DAYS)
    if kind in {"season", "both"}:
        demand *= 1 + SEASON * np.sin(2 * np.pi * (years + rng.random()))
    if kind in {"growth", "both"}:
        demand *= GROWTH**years
    return np.asarray(demand / demand.mean())


def _noise(kind: Kind, rng: np.random.Generator) -> Floats:
    """Factors on the sales of each day (days,), of mean 1."""
    new = rng.normal(0, NOISE, DAYS)
    if kind == "autocorrelated":
        new[1:] *= np.sqrt(1 - NOISE_KEPT**2)
        new = lfilter([1.0], [1.0, -NOISE_KEPT], new)
    return np.asarray(np.exp(new - NOISE**2 / 2))
