"""Columns that are the sum of the channels: refused, while channels that only move alike are not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from polserve.training.errors import InvalidOption
from polserve.training.tasks.adbudget.curves.response import Floats
from polserve.training.tasks.adbudget.history.totals import is_total
from tests.support.history_files import FACEBOOK, HEADER, INSTAGRAM, read, table

RNG = np.random.default_rng(0)
SPENDS = RNG.lognormal([7, 5, 3], 0.5, (90, 3)).round(2)
SUM = SPENDS.sum(axis=1)


@pytest.mark.parametrize(
    "change",
    [
        lambda total: total,
        lambda total: total.round(),
        lambda total: (1.03 * total).round(2),
        lambda total: (1.19 * total).round(),
        lambda total: (0.85 * total).round(2),
    ],
)
def test_a_sum_is_a_total_also_where_it_is_rounded_or_has_a_fee_on_top(change: Callable[[Floats], Floats]) -> None:
    assert is_total("media", change(SUM), SPENDS)


@pytest.mark.parametrize("name", ["total", "Total media", "grand_total", "Gesamt"])
def test_a_column_that_is_named_so_is_a_total_of_whatever_else(name: str) -> None:
    assert is_total(name, RNG.uniform(0, 100, 90), SPENDS)
    assert not is_total(name, RNG.uniform(0, 100, 90), SPENDS[:, :0])


def test_channels_of_their_own_and_fixed_shares_of_a_budget_are_no_totals() -> None:
    shares = (SUM[:, None] * [0.55, 0.25, 0.2]).round(2)
    for spends in (SPENDS, shares, shares.round()):
        for index in range(3):
            assert not is_total("tv", spends[:, index], np.delete(spends, index, axis=1))
    assert not is_total("total_tv", SPENDS[:, 0], SPENDS[:, 1:])


@pytest.mark.parametrize(
    ("name", "factor", "said"),
    [
        ("media_spend", 1.03, "media_spend: expected the spend of one channel, got on every day what the others have"),
        ("total_spend", 0.5, "total_spend: expected the spend of one channel, got a total, by its name; delete it, or"),
    ],
)
def test_a_history_with_a_total_is_refused(tmp_path: Path, name: str, factor: float, said: str) -> None:
    total = (factor * (FACEBOOK + INSTAGRAM)).round()
    with pytest.raises(InvalidOption, match=said):
        read(tmp_path, table(header=(*HEADER, name), more=lambda index: (f"{total[index]:.0f}",)))
