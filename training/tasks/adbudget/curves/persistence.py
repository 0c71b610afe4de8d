"""Noise of daily sales that persists: what a day's noise keeps of the day before's, as far as a history tells.

Real sales stay above or below any fit for weeks. A fit that takes each day by itself is then poor, and its intervals
hold the truth too seldom. Here the noise is an autoregression of first order, and what is new on each day is fitted:
generalised least squares, with the first day as Prais and Winsten (1954) have it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from polserve.training.tasks.adbudget.curves.minimising import whiten
from polserve.training.tasks.adbudget.curves.response import Floats

SHARES = np.linspace(0.0, 0.98, 50)
"""Shares of the noise of the day before that a day's noise may keep; all are as likely beforehand."""
BLOCK_DAYS = 14
"""Length of a block: what is new on neighbouring days may still be alike, and is drawn together."""


@dataclass(frozen=True, slots=True)
class Noise:
    """What nothing explains of each day's sales."""

    deviation: Floats  # (days,), in mean sales
    """Standard deviation of what is new on each day."""
    follows: NDArray[np.bool_]  # (days,)
    """Whether a day and the one before are both fitted, and ordinary: what is kept is known from such pairs alone."""
    kept: float = 0.0
    """Share of the noise of the day before, which a day's noise keeps."""

    @property
    def weights(self) -> tuple[Floats, Floats]:
        """Weights (days,) of each day and of the day before, whose difference is what is new, of deviation 1.

        A day that follows none has the noise of many days before it, and is scaled down to what is new.
        """
        own = np.where(self.follows, 1.0, np.sqrt(1 - self.kept**2)) / self.deviation
        eve = np.where(self.follows, self.kept, 0.0) / np.roll(self.deviation, 1)
        return own, eve

    def innovations(self, residual: Floats) -> Floats:
        """Return what is new on each day (days,) of a residual (days,), in standard deviations."""
        return whiten(residual, *self.weights)

    def draw(self, residual: Floats, is_fitted: NDArray[np.bool_], rng: np.random.Generator) -> Floats:
        """Draw other noise (days,), in mean sales, from that of the fitted days, `residual` (days,) in mean sales.

        Blocks of what is new on neighbouring days are drawn, and each day then keeps its share of the day before's
        noise: the post-blackened block bootstrap (Davison and Hinkley 1997, section 8.2).
        """
        drawn = _blocks(self.innovations(residual)[is_fitted], len(residual), rng)
        drawn[0] /= np.sqrt(1 - self.kept**2)
        return np.asarray(lfilter([1.0], [1.0, -self.kept], drawn) * self.deviation)


@dataclass(frozen=True, slots=True)
class Persistence:
    """How likely each of `SHARES` is the one that the noise of a history keeps from day to day."""

    likelihood: Floats  # (shares,), of sum 1

    @property
    def mean(self) -> float:
        """Mean share."""
        return float(SHARES @ self.likelihood)

    def draw(self, rng: np.random.Generator) -> float:
        """Draw a share as likely as the history makes it."""
        return float(rng.choice(SHARES, p=self.likelihood))


def find_persistence(
    residual: Floats, derivatives: Floats, precision: Floats, is_fitted: NDArray[np.bool_], follows: NDArray[np.bool_]
) -> Persistence:
    """Find how much of its noise a history keeps from day to day, from the residuals of a fit.

    A flexible fit takes slow noise for trend, season and effects, so that its residuals persist less than the noise
    does. So the likelihood is the one that is left when the parameters of the fit, linear around it, and the size of
    the noise are integrated out: a restricted likelihood (Cheang and Reinsel 2000, Journal of the American Statistical
    Association 95), with the weak prior of the parameters, which is centred at the fit here, not at its own mean.

    Args:
        residual: (days,) of the fit, in standard deviations.
        derivatives: (days, parameters) of what is fitted, in standard deviations.
        precision: (parameters,) of the prior, one over the square of each deviation.
        is_fitted: (days,).
        follows: (days,), as in `Noise`.
    """
    rows = np.column_stack([derivatives, residual])
    alone, now, eve = rows[is_fitted & ~follows], rows[follows], rows[np.flatnonzero(follows) - 1]
    crossed = now.T @ eve
    share = SHARES[:, None, None]
    products = (1 - share**2) * (alone.T @ alone) + now.T @ now
    products += share**2 * (eve.T @ eve) - share * (crossed + crossed.T)
    curvature, gradient = products[:, :-1, :-1] + np.diag(precision), products[:, :-1, -1:]
    left = products[:, -1, -1] - (gradient * np.linalg.solve(curvature, gradient)).sum(axis=(1, 2))
    log_likelihood = 0.5 * (
        len(alone) * np.log(1 - SHARES**2)
        - np.linalg.slogdet(curvature)[1]
        - is_fitted.sum() * np.log(1 + np.maximum(left, 0.0))  # 1, since sales that never change leave nothing
    )
    likelihood = np.exp(log_likelihood - log_likelihood.max())
    return Persistence(likelihood / likelihood.sum())


def _blocks(noise: Floats, days: int, rng: np.random.Generator) -> Floats:
    """Draw noise for as many days, in blocks of neighbouring ones."""
    count = -(-days // BLOCK_DAYS)
    starts = rng.integers(0, len(noise) - BLOCK_DAYS + 1, count)
    return np.concatenate([noise[start : start + BLOCK_DAYS] for start in starts])[:days]
