"""The 90 % intervals of response curves, from fits to other noise."""

from dataclasses import dataclass

import numpy as np

from polserve.training.tasks.adbudget.curves.regression import Curves, SalesModel, share_at_mean
from polserve.training.tasks.adbudget.curves.response import Floats

QUANTILES = (0.05, 0.5, 0.95)
POINTS = 60
MOST_POINTS = 0.9
"""Part of the points of a curve that must lie in a band which holds it."""


@dataclass(frozen=True, slots=True)
class Band:
    """What steady daily spends of one channel sell a day, by many fits."""

    spends: Floats  # (points,), money a day
    low: Floats  # (points,), of the 90 % interval
    high: Floats  # (points,)
    observed: tuple[float, float]
    """Least and greatest spend on the days that the channel was used."""
    mean_spend: float
    """Mean spend on those days."""
    at_mean: tuple[float, float, float]
    """Low end, middle and high end of the interval at the mean spend."""

    def holds(self, sales: Floats) -> bool:
        """Whether a curve with the sales (points,) lies in the interval at most spends that were observed."""
        least, greatest = self.observed
        seen = (self.spends >= least) & (self.spends <= greatest)
        is_within = (sales >= self.low) & (sales <= self.high)
        return not seen.any() or float(is_within[seen].mean()) >= MOST_POINTS


def bands(model: SalesModel, draws: Floats) -> list[Band]:
    """Return the band of each channel, by fits with the parameters `draws` (members, all)."""
    scales = np.array([model.scale(draw, model.terms(draw)) for draw in draws])
    found = []
    for index, used in enumerate(model.used):
        at = np.append(np.linspace(0, 1.5 * used.max(), POINTS), used.mean())
        drawn = steady_sales(model.curves(draws), index, at / model.mean_spend[index]) * scales[:, None]
        low, median, high = np.quantile(drawn, QUANTILES, axis=0)
        observed = (float(used.min()), float(used.max()))
        at_mean = (float(low[-1]), float(median[-1]), float(high[-1]))
        found.append(Band(at[:-1], low[:-1], high[:-1], observed, float(used.mean()), at_mean))
    return found


def curve_of(model: SalesModel, parameters: Floats, index: int, band: Band) -> Floats:
    """Sales (points,) of the spends of a band, by the parameters (all,) of one fit."""
    at = band.spends / model.mean_spend[index]
    scale = model.scale(parameters, model.terms(parameters))
    return np.asarray(steady_sales(model.curves(parameters[None]), index, at)[0] * scale)


def steady_sales(curves: Curves, index: int, spends: Floats) -> Floats:
    """Sales (members, points) of steady spends (points,), in mean spends, of one channel of `curves` (members, n)."""
    half, slope, effect = (each[:, index, None] for each in (curves.log_half, curves.slope, curves.effect))
    power = np.exp(slope * (np.log(np.maximum(spends, 1e-12)) - half))
    return np.asarray(effect * power / (1 + power) / share_at_mean(curves)[:, index, None])
