"""How the page and the terminal write sales, money and returns."""

LEAST_RATIO = 0.1
"""Least return that two decimals tell enough of."""


def amount(value: float) -> str:
    """Write sales or money in whole units, and with three digits where there are few."""
    return f"{value:z,.0f}" if abs(value) >= 100 or value == 0 else f"{value:.3g}"  # noqa: PLR2004


def change(value: float) -> str:
    """Write by how much an amount is more or less than another, with its sign."""
    return f"{'-' if value < 0 else '+'}{amount(abs(value))}"


def ratio(returned: float) -> str:
    """Write a return with two decimals, and with three digits where it is small, as orders for each EUR are."""
    return f"{returned:.2f}" if abs(returned) >= LEAST_RATIO else f"{returned:.3g}"
