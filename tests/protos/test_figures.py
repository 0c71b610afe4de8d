"""Returns of any scale are told with the digits that say something."""

import math

import pytest

from polserve.protos.shared.figures import figure


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0.0"),
        (-1.234e-8, "-1.23e-08"),
        (0.53249, "0.532"),
        (1.0, "1.0"),
        (-110.26, "-110.3"),
        (71979.25, "71979.2"),
        (1_075_000_000.4, "1,075,000,000"),
        (-2e20, "-2e+20"),
        (math.nan, "nan"),
        (math.inf, "inf"),
    ],
)
def test_a_figure_has_significant_digits_at_any_scale(value: float, shown: str) -> None:
    assert figure(value) == shown


def test_the_form_is_that_of_ordinary_returns() -> None:
    assert figure(1234.567, ",.2f") == "1,234.57"
    assert figure(0.001234, ",.2f") == "0.00123"
