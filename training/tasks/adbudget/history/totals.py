"""Columns that are the sum of others, which an export adds and a fit would take for a channel."""

import re

import numpy as np

from polserve.training.tasks.adbudget.curves.response import Floats

_MEDIA = r"(media|ads?|advertising|marketing|budget)"
NAMED = re.compile(
    rf"((grand|overall)[\s_-]*|{_MEDIA}[\s_-]+)?(totals?|totale|totaal|gesamt(summe)?|insgesamt|sum|summe|suma)"
    rf"([\s_-]+{_MEDIA})?",
    re.IGNORECASE,
)
"""Names that no single channel has."""
FACTORS = (0.9999, 1.3)
"""What a total may be of the sum, at least and at most: as much, or with a fee or a tax on top."""
NEARLY_ALL = 0.95
"""Share of the days with any spend, at least, on which a total is so many times the sum."""
RELATIVE, ROUNDING, MOST_ROUNDING = 1e-3, 0.5, 0.02
"""How far a day may be off: a part of its spend, and half a unit of money, but that only up to a part of the spend."""
LESS_THAN_ALONE = 0.1
"""How far off a sum is, at most, to how far the best single column is: else channels are only split alike."""
ALIKE = 1e-4
"""Columns are split alike where one is no further off a multiple of the other, as a part of the spend."""


def times_the_others(spend: Floats, others: Floats) -> float | None:
    """Find how many times the `others` (days, channels) together `spend` (days,) is; None where it is no total.

    Beside one other channel it is none: that is a budget split in two, of which the fit says what it cannot tell. A
    total may be rounded, and have a fee on top. A split in fixed shares makes a channel proportional to the sum of the
    others as well, but then to each of them, too. A few days of large spends decide nothing.
    """
    if not others.size or others.shape[1] == 1:
        return None
    total = others.sum(axis=1)
    if np.allclose(total, spend, rtol=1e-4, atol=0.05):
        return 1.0
    factor, off, size = _distance(spend, total)
    allowed = RELATIVE * size + np.minimum(ROUNDING, MOST_ROUNDING * size)
    if not FACTORS[0] <= factor <= FACTORS[1] or (off <= allowed).mean() < NEARLY_ALL:
        return None
    alone = min(_usual(*_distance(spend, other)[1:]) for other in others.T)
    return factor if alone > ALIKE and _usual(off, size) < LESS_THAN_ALONE * alone else None


def _distance(spend: Floats, other: Floats) -> tuple[float, Floats, Floats]:
    """Usual ratio of `spend` to `other`, and for each day with spend how far off it is, and how large the spend is."""
    is_used = (spend > 0) | (other > 0)
    spend, other = spend[is_used], other[is_used]
    is_both = (spend > 0) & (other > 0)
    factor = float(np.median(spend[is_both] / other[is_both])) if is_both.any() else 0.0
    return factor, np.abs(spend - factor * other), np.maximum(spend, factor * other)


def _usual(off: Floats, size: Floats) -> float:
    """How far off nearly all days are, at most, as a part of their spend."""
    return float(np.quantile(off / np.maximum(size, 1e-12), NEARLY_ALL))
