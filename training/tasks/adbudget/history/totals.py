"""Columns that are the sum of others, which an export adds and a fit would take for a channel."""

import re

import numpy as np

from polserve.training.tasks.adbudget.curves.response import Floats

NAMED = re.compile(
    r"((grand|overall)[\s_-]*)?(totals?|gesamt(summe)?|insgesamt|summe?)([\s_-]+(media|ads?|advertising|marketing|budget))?",
    re.IGNORECASE,
)
"""Names that no single channel has."""
FACTORS = (0.8, 1.3)
"""What a total may be of the sum: a discount, a fee or a tax is off or on it."""
LEAST_EXPLAINED = 0.999
"""Share of a total's variance, at least, that the sum explains: the rest is rounding."""
LESS_THAN_ALONE = 0.1
"""What a sum leaves unexplained, at most, of what the best single column does: else channels are only split alike."""


def is_total(name: str, spend: Floats, others: Floats) -> bool:
    """Whether `spend` (days,) is a total of the `others` (days, channels), by its name or by its amounts.

    It may be rounded, and have a fee on top. A split in fixed shares makes a channel proportional to the sum of the
    others as well, but then to each of them, too.
    """
    if not others.size:
        return False
    total = others.sum(axis=1)
    if NAMED.fullmatch(name) or np.allclose(total, spend, rtol=1e-4, atol=0.05):
        return True
    factor, left = _unexplained(spend, total)
    alone = min(_unexplained(spend, other)[1] for other in others.T)
    is_near = FACTORS[0] <= factor <= FACTORS[1]
    return is_near and left <= 1 - LEAST_EXPLAINED and left < LESS_THAN_ALONE * alone


def _unexplained(spend: Floats, other: Floats) -> tuple[float, float]:
    """Factor by which `spend` is closest to `other`, and the share of its variance that is left."""
    factor = float(spend @ other) / max(float(other @ other), 1e-12)
    varies = float(((spend - spend.mean()) ** 2).sum())
    return factor, float(((spend - factor * other) ** 2).sum()) / varies if varies else 0.0
