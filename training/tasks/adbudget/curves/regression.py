"""Sales as a function of spends and parameters, its derivatives, and the parameters that explain a history best."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares
from scipy.signal import lfilter

from polserve.training.tasks.adbudget.contexts import DAYS_A_WEEK
from polserve.training.tasks.adbudget.curves.response import Channel, Floats
from polserve.training.tasks.adbudget.history.history import History

RETENTION_RANGE = (0.0, 0.95)
SLOPE_RANGE = (0.4, 1.0)
"""Range of the Hill curve's exponent: concave, as in Meridian and PyMC-Marketing."""
HALF_SATURATION_RANGE = (0.05, 10.0)
"""To the channel's mean spend on the days that it was used."""
STARTS = 3
MOST_EVALUATIONS = 200


@dataclass(frozen=True, slots=True)
class _Shares:
    """What the parameters make of the spends; arrays are (days, channels)."""

    adstock: Floats  # in half saturations
    share: Floats  # of the most sales
    week: Floats  # (days,), demand by weekday
    level: Floats  # (days,), sales before the weekday's factor


class SalesModel:
    """Parameters in one vector: per channel retention, log half saturation, slope, most sales; base; weekdays."""

    def __init__(self, history: History) -> None:
        self._names = history.channels
        self._n = len(history.channels)
        self._mean_spend = np.array([spend[spend > 0].mean() for spend in history.spends.T])
        self._spends = history.spends / self._mean_spend
        self._weekday = history.weekday
        self._is_weekday = np.eye(DAYS_A_WEEK)[history.weekday]
        self._mean_sales = float(history.sales.mean())
        ones = np.ones(self._n)
        low, high = np.log(np.array(HALF_SATURATION_RANGE))
        self._low = np.concatenate([
            RETENTION_RANGE[0] * ones, low * ones, SLOPE_RANGE[0] * ones, 0 * ones, [0.0], np.full(DAYS_A_WEEK, 0.05)
        ])  # fmt: skip
        self._high = np.concatenate([
            RETENTION_RANGE[1] * ones, high * ones, SLOPE_RANGE[1] * ones, 10 * ones, [5.0], np.full(DAYS_A_WEEK, 20.0)
        ])  # fmt: skip

    def starts(self, rng: np.random.Generator) -> list[Floats]:
        """Where to begin: one in the middle, the others at random."""
        middle = np.concatenate([
            np.full(self._n, 0.5), np.zeros(self._n), np.full(self._n, 0.85), np.full(self._n, 0.5), [0.5],
            np.ones(DAYS_A_WEEK),
        ])  # fmt: skip
        spread = np.concatenate([
            np.full(self._n, 0.4), np.full(self._n, 1.0), np.full(self._n, 0.14), np.full(self._n, 0.4), [0.4],
            np.full(DAYS_A_WEEK, 0.1),
        ])  # fmt: skip
        return [middle, *(middle + spread * rng.uniform(-1, 1, len(middle)) for _ in range(STARTS - 1))]

    def fit(self, sales: Floats, start: Floats) -> tuple[Floats, float]:
        """Find the parameters that explain `sales` best; return them and what they leave."""

        def residuals(parameters: Floats) -> Floats:
            return self._relative_sales(parameters) - sales / self._mean_sales

        result = least_squares(
            residuals,
            np.clip(start, self._low + 1e-6, self._high - 1e-6),
            jac=self.derivatives,
            bounds=(self._low, self._high),
            x_scale=np.maximum(np.abs(start), 0.1),
            max_nfev=MOST_EVALUATIONS,
        )
        return np.asarray(result.x), float(result.cost)

    def sales(self, parameters: Floats) -> Floats:
        """Compute the expected sales (days,)."""
        return self._relative_sales(parameters) * self._mean_sales

    def derivatives(self, parameters: Floats) -> Floats:
        """Compute the derivatives (days, parameters) of the expected sales, in mean sales, by the parameters."""
        retention, half, slope, most = parameters[: 4 * self._n].reshape(4, self._n)
        shares = self._shares(parameters)
        bend = shares.share * (1 - shares.share)
        is_spent = shares.adstock > 0
        adstock = np.where(is_spent, shares.adstock, 1.0)  # nothing changes where nothing was spent yet
        by_retention = slope * bend / adstock * self._adstock_change(retention) / np.exp(half)
        by_slope = bend * np.log(adstock)
        columns = [by_retention * most, -slope * bend * most, by_slope * most, shares.share]
        by_channel = np.concatenate(columns, axis=1) * shares.week[:, None]
        return np.column_stack([by_channel, shares.week, self._is_weekday * shares.level[:, None]])

    def channels(self, parameters: Floats) -> tuple[Channel, ...]:
        """Channels that the parameters describe."""
        retention, half, slope, most = parameters[: 4 * self._n].reshape(4, self._n)
        scale = self._weekday_mean(parameters) * self._mean_sales
        return tuple(
            Channel(
                name=name,
                retention=float(np.clip(retention[i], *RETENTION_RANGE)),
                half_saturation=float(np.exp(half[i]) * self._mean_spend[i]),
                slope=float(np.clip(slope[i], *SLOPE_RANGE)),
                sales_max=float(max(most[i], 1e-9) * scale),
            )
            for i, name in enumerate(self._names)
        )

    def base(self, parameters: Floats) -> float:
        """Sales a day without any spend."""
        return float(parameters[4 * self._n] * self._mean_sales * self._weekday_mean(parameters))

    def weekday(self, parameters: Floats) -> tuple[float, ...]:
        """Demand by weekday, of mean 1."""
        week = parameters[4 * self._n + 1 :] / self._weekday_mean(parameters)
        return tuple(week.tolist())

    def _relative_sales(self, parameters: Floats) -> Floats:
        """Compute the expected sales (days,), in mean sales."""
        shares = self._shares(parameters)
        return np.asarray(shares.week * shares.level)

    def _shares(self, parameters: Floats) -> _Shares:
        retention, half, slope, most = parameters[: 4 * self._n].reshape(4, self._n)
        adstock = np.maximum(self._filtered((1 - retention) * self._spends, retention), 0.0) / np.exp(half)
        power = adstock**slope
        share = power / (1 + power)
        week = parameters[4 * self._n + 1 :][self._weekday]
        return _Shares(adstock, share, week, parameters[4 * self._n] + share @ most)

    def _adstock_change(self, retention: Floats) -> Floats:
        """Compute the derivative of the adstock (days, channels), in mean spends, by each channel's retention."""
        before = np.zeros_like(self._spends)
        before[1:] = self._filtered((1 - retention) * self._spends, retention)[:-1]
        return self._filtered(before - self._spends, retention)

    def _filtered(self, added: Floats, retention: Floats) -> Floats:
        """Sum, on each day (days, channels), of what is kept of the day before and what is `added`."""
        return np.column_stack([
            lfilter([1.0], [1.0, -kept], column) for kept, column in zip(retention, added.T, strict=True)
        ])  # fmt: skip

    def _weekday_mean(self, parameters: Floats) -> float:
        return float(parameters[4 * self._n + 1 :].mean())
