"""Returns as people read them, whatever their scale."""

LARGE, HUGE = 1e5, 1e15
"""Sizes from which on decimals tell nothing, and from which on nobody counts digits."""


def figure(value: float, form: str = ".1f") -> str:
    """Write a return in the `form`, except for small and large numbers, whose digits that would hide or invent.

    A number below 1 gets three significant digits (0.1; 1.23e-08), one from `LARGE` on no decimals (1,075,000,000), and
    one from `HUGE` on four significant digits.
    """
    size = abs(value)
    if 0 < size < 1:
        return f"{value:.3g}"
    if size >= HUGE:
        return f"{value:.4g}"
    return f"{value:,.0f}" if size >= LARGE else f"{value:{form}}"
