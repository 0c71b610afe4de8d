"""Columns of events, promotions and prices: read as they were meant, or refused with what is wrong."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from polserve.training.errors import InvalidOption
from polserve.training.tasks.adbudget.history.history import read_history, write_history


def with_column(name: str, cells: Callable[[int], str]) -> str:
    """A history of 60 days with one more column."""
    days = [date(2026, 1, 1) + timedelta(days=day) for day in range(60)]
    rows = [f"{day},{100 + index % 7},{500 + index % 5},{cells(index)}" for index, day in enumerate(days)]
    return "\n".join([f"date,search_spend,sales,{name}", *rows])


@pytest.mark.parametrize(
    ("name", "cells", "expected"),
    [
        ("event", lambda day: "1" if day == 3 else "", {"event": 1.0}),
        ("Holidays", lambda day: "Easter" if day in (3, 4) else "", {"easter Holidays": 2.0}),
        ("promotion", lambda day: "20" if day == 3 else "0", {"promotion": 20.0}),
        ("promotion", lambda day: "yes" if day == 3 else "no", {"promotion": 1.0}),
        ("promotion", lambda day: "Sommersale" if day in (3, 4) else "", {"sommersale promotion": 2.0}),
        ("promotion", lambda day: "ja" if day == 3 else "nein", {"ja promotion": 1.0}),
        ("promo", lambda day: "TRUE" if day in (3, 4) else "FALSE", {"promo": 2.0}),
        ("holiday", lambda day: "True" if day in (3, 4) else "False", {"holiday": 2.0}),
        ("competitor_price (EUR)", lambda day: "3.50" if day == 3 else "4.00", {"competitor_price (EUR)": 239.5}),
        ("price", lambda _day: "4.00", {}),
        ("holiday", lambda _day: "Ramadan", {}),
        ("holiday", lambda _day: "1", {}),
        ("event", lambda day: "Sale" if day in (3, 4) else "regular", {"sale event": 2.0}),
        ("priceless", lambda _day: "what", {}),
    ],
)
def test_columns_of_events_prices_and_promotions_are_read(
    tmp_path: Path, name: str, cells: Callable[[int], str], expected: dict[str, float]
) -> None:
    path = tmp_path / "history.csv"
    path.write_text(with_column(name, cells))
    assert {control.name: float(control.values.sum()) for control in read_history(path).controls} == expected


def test_events_are_written_as_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text(with_column("holiday", lambda day: "Easter" if day in (3, 4) else ""))
    history = read_history(path)
    write_history(path, history)
    (control,) = read_history(path).controls
    assert control.name == "easter holiday"
    assert np.array_equal(control.values, history.controls[0].values)


@pytest.mark.parametrize(
    ("name", "cells", "said"),
    [
        ("price", lambda day: "" if day == 3 else "4.50", "line 5: price: expected a plain number"),
        ("price", lambda day: "0" if day == 3 else "4.50", "line 5: price: expected a price above 0 on every day"),
        ("promotion", lambda day: "20 %" if day == 3 else "0", "; or rename the column, and the fit leaves it out"),
        ("promotion", lambda day: "20 EUR" if day == 3 else "0", "leave out signs and names of currencies"),
        ("promotion", lambda day: "-20 EUR" if day == 3 else "0", "line 5: promotion: expected a plain number"),
        ("event", lambda day: f"launch {day}x", "expected at most 40 different events, got 59"),
    ],
)
def test_columns_that_tell_no_events_or_prices_are_refused(
    tmp_path: Path, name: str, cells: Callable[[int], str], said: str
) -> None:
    path = tmp_path / "history.csv"
    path.write_text(with_column(name, cells))
    with pytest.raises(InvalidOption) as refused:
        read_history(path)
    assert said in str(refused.value)
