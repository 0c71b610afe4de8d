"""Returns as people read them, whatever their scale."""

LARGE, HUGE = 1e5, 1e15
"""Sizes from which on decimals tell nothing, and from which on nobody counts digits."""


def figure(value: float, form: str = ".1f") -> str:
    """Write a return in the `form`, or where that would hide or invent digits: three of less than 1, none of a decimal.

    0.1 is written as 0.1, 1.234e-8 as 1.23e-08, 1075000000.0 as 1,075,000,000.
    """
    size = abs(value)
    if 0 < size < 1:
        return f"{value:.3g}"
    if size >= HUGE:
        return f"{value:.4g}"
    return f"{value:,.0f}" if size >= LARGE else f"{value:{form}}"
