"""Columns that are the sum of the channels: refused, while channels that only move alike are not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from polserve.training.errors import InvalidOption
from polserve.training.tasks.adbudget.curves.response import Floats
from polserve.training.tasks.adbudget.history.totals import times_the_others
from tests.support.history_files import FACEBOOK, HEADER, INSTAGRAM, read, table

RNG = np.random.default_rng(0)
SPENDS = RNG.lognormal([7, 5, 3], 0.5, (90, 3)).round(2)
SUM = SPENDS.sum(axis=1)


@pytest.mark.parametrize(
    ("change", "times"),
    [
        (lambda total: total, 1),
        (lambda total: total.round(), 1),
        (lambda total: (1.03 * total).round(2), 1.03),
        (lambda total: (1.19 * total).round(), 1.19),
    ],
)
def test_a_sum_is_a_total_also_where_it_is_rounded_or_has_a_fee_on_top(
    change: Callable[[Floats], Floats], times: float
) -> None:
    assert times_the_others(change(SUM), SPENDS) == pytest.approx(times, abs=1e-3)


@pytest.mark.parametrize(
    "name", ["total", "Total media", "grand_total", "Gesamt", "sum", "Summe", "totale", "totaal", "media total"]
)
def test_a_column_that_is_named_so_is_a_total_of_whatever_else(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidOption, match="the spend of one channel, got a total, by its name"):
        read(tmp_path, table(header=(*HEADER, f"{name}_spend"), more=lambda index: (f"{index % 7}",)))


@pytest.mark.parametrize("name", ["total_tv", "summ", "adsum", "summit"])
def test_a_name_that_only_begins_as_a_totals_is_a_channels(tmp_path: Path, name: str) -> None:
    history = read(tmp_path, table(header=(*HEADER, f"{name}_spend"), more=lambda index: (f"{index % 7}",)))
    assert name in history.channels


def is_any_total(spends: Floats) -> bool:
    """Whether a column is taken for the total of the others."""
    columns = range(spends.shape[1])
    return any(times_the_others(spends[:, index], np.delete(spends, index, axis=1)) is not None for index in columns)


def test_channels_of_their_own_and_fixed_shares_of_a_budget_are_no_totals() -> None:
    shares = SUM[:, None] * [0.55, 0.25, 0.2]
    for spends in (SPENDS, shares, shares.round(2), shares.round()):
        assert not is_any_total(spends)
    assert times_the_others(SPENDS[:, 0], SPENDS[:, :0]) is None


def test_a_budget_that_is_halved_between_two_channels_has_no_total() -> None:
    assert not is_any_total(np.repeat(SPENDS[:, :1], 2, axis=1))


def test_a_fixed_part_of_a_budget_is_no_total_where_two_others_split_the_rest_freely() -> None:
    rest, part = 0.55 * SUM, RNG.uniform(0.2, 0.8, 90)
    assert not is_any_total(np.column_stack([0.45 * SUM, rest * part, rest * (1 - part)]).round(2))


def test_two_large_launch_days_do_not_make_a_channel_a_total() -> None:
    spends = RNG.lognormal(3, 0.3, (400, 3))
    spends[[100, 200]] = [[30_000, 15_000, 15_000], [20_000, 15_000, 5_000]]
    assert not is_any_total(spends.round(2))


def test_a_total_is_one_although_it_is_off_on_a_few_days() -> None:
    total = (1.05 * SUM).round(2)
    total[[3, 50]] = [0, 900]
    assert times_the_others(total, SPENDS) == pytest.approx(1.05, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "factor", "said"),
    [
        (
            "media_spend",
            1.03,
            "media_spend: expected the spend of one channel, got 1.03 times what the others have together",
        ),
        ("total_spend", 0.5, "total_spend: expected the spend of one channel, got a total, by its name; delete it, or"),
    ],
)
def test_a_history_with_a_total_is_refused(tmp_path: Path, name: str, factor: float, said: str) -> None:
    total = (factor * (FACEBOOK + INSTAGRAM)).round()
    with pytest.raises(InvalidOption, match=said):
        read(tmp_path, table(header=(*HEADER, name), more=lambda index: (f"{total[index]:.0f}",)))


def test_a_channel_that_is_taken_for_a_total_is_kept_by_adding_it_to_another() -> None:
    part = RNG.uniform(0.2, 0.8, 90)
    search, tv, radio = SUM, SUM * part, SUM * (1 - part)
    assert is_any_total(np.column_stack([search, tv, radio]).round(2))
    assert not is_any_total(np.column_stack([search + tv, radio]).round(2))
