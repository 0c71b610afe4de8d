"""Histories that have no reading, or two: refused with what is wrong and where."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from polserve.training.errors import InvalidOption
from polserve.training.tasks.adbudget.history.history import (
    History,
    read_history,
    write_history,
)
from tests.support.history_files import (
    DAYS,
    FACEBOOK,
    FIRST,
    HEADER,
    INSTAGRAM,
    SALES,
    change,
    read,
    table,
)


@pytest.mark.parametrize(
    ("write", "readings"),
    [
        ("{:,.0f}", "'1,983' .* 1983 if a comma separates thousands or as 1.983 if a comma stands before decimals"),
        ("1.{:03.0f}", "'1.002' .* 1.002 if a point stands before decimals or as 1002 if a point separates thousands"),
    ],
)
def test_amounts_with_two_readings_are_refused_with_both(tmp_path: Path, write: str, readings: str) -> None:
    scale = 1000.0 if write.startswith("1.") else 1.0
    with pytest.raises(InvalidOption, match=f"line 2: facebook_spend: {readings}, and no other number"):
        read(tmp_path, table(lambda amount: write.format(amount / scale)))


def test_german_thousands_without_decimals_are_not_taken_for_decimals(tmp_path: Path) -> None:
    content = table(lambda amount: f"{amount:,.0f}".replace(",", "."))
    with pytest.raises(InvalidOption, match=r"can be read in two ways, .*; write 1\.9830 or 1983$"):
        read(tmp_path, content)


def test_days_with_two_readings_are_refused_with_both(tmp_path: Path) -> None:
    content = [",".join(HEADER), "01/02/2026,1,2,3", "02/02/2026,2,3,4"]
    with pytest.raises(InvalidOption, match="'01/02/2026' can be read as 2026-02-01 or as 2026-01-02"):
        read(tmp_path, content)


def test_two_currencies_are_refused_with_their_lines(tmp_path: Path) -> None:
    content = table(header=(*HEADER, "currency"), more=lambda index: ("EUR" if index < 45 else "USD",))
    with pytest.raises(InvalidOption, match=r"one currency .*line 2: currency is EUR and .*line 47: currency is USD"):
        read(tmp_path, content)
    content[0] = content[0].replace("currency", "unit")  # whatever it is called
    with pytest.raises(InvalidOption, match="one currency"):
        read(tmp_path, content)
    header = ("date", "facebook_spend_eur", "instagram_spend_usd", "sales")
    with pytest.raises(InvalidOption, match="facebook_spend_eur tells EUR and instagram_spend_usd tells USD"):
        read(tmp_path, table(header=header))


@pytest.mark.parametrize("cell", ["XQZ", "$", ""])
def test_a_currency_that_is_none_is_refused(tmp_path: Path, cell: str) -> None:
    content = table(header=(*HEADER, "currency"), more=lambda index: (cell if index == 3 else "EUR",))
    with pytest.raises(InvalidOption, match="line 5: currency: expected an ISO 4217 code such as EUR"):
        read(tmp_path, content)


@pytest.mark.parametrize(
    ("cell", "text", "message"),
    [
        ((10, 1), "-5", "line 11: facebook_spend: expected a plain number such as 1234.56.* take refunds"),
        ((10, 1), "(5.00)", "take refunds"),
        ((10, 1), "$500", "got '\\$500'; leave out signs and names of currencies"),
        ((10, 1), "12.50 EUR", "leave out signs and names of currencies"),
        ((10, 1), "1.2k", "and units"),
        ((10, 1), "5%", "an amount, not a percentage"),
        ((10, 2), "a lot", "line 11: instagram_spend: expected a plain number .* got 'a lot'"),
        ((10, 3), "", "line 11: sales: .* got ''; what is missing is not 0: write 0 where there was nothing"),
        ((10, 1), "N/A", "what is missing is not 0"),
        ((10, 1), "nan", "line 11: facebook_spend: .* got 'nan'; what is missing"),
        ((10, 1), "inf", "line 11: facebook_spend: .* got 'inf'"),
        ((10, 1), "9" * 200_000, "line 11: expected cells of CSV, got more than 131,072 characters in one"),
        ((10, 1), "#REF!", "an error of a spreadsheet"),
        ((10, 1), "1e15", "from 0 to 1e\\+12, got 1e15"),
        ((10, 1), "9" * 400, "from 0 to 1e\\+12, got 9"),
        ((10, 1), "5e8", "facebook_spend of 2026-01-10: expected at most 1000 times the median"),
        ((10, 1), "1_000", "line 11: facebook_spend: expected a plain number"),
        ((10, 1), "\N{ARABIC-INDIC DIGIT ONE}", "line 11: facebook_spend: expected a plain number"),
        ((10, 1), '"1.281,89"', "got '1.281,89', while the column is mostly written with a point before decimals"),
        ((10, 0), "10.01.2026", "line 11: date: expected a day such as 2026-01-31, got '10.01.2026'; the first line"),
        ((10, 0), "2026-02-30", "which is in no calendar"),
        ((10, 0), "0026-01-10", "a year is from 1990 to 2100"),
        ((10, 0), "2026-01-10T12:30", "without a time and a time zone"),
        ((10, 0), "2026-01-10T00:00:00Z", "without a time and a time zone"),
        ((10, 0), "10/01/26", "a year has four digits"),
        ((10, 0), "46032", "spreadsheet's number for 2026-01-10 or, where it counts from 1904, 2030-01-11"),
        ((10, 0), "Total", "got 'Total'; delete lines of totals"),
        ((10, 0), "Gesamtsumme", "got 'Gesamtsumme'; delete lines of totals"),
        ((10, 0), "", "got ''; delete lines of totals"),
        ((10, 0), "2026-01-09", "expected each date once; .* got 2026-01-09 twice"),
        ((10, 0), "2030-01-01", "a line for every day, with zeros where nothing was spent or sold, got none betw"),
        ((0, 3), "revenue", "line 1: expected a header with date, <channel>_spend for each channel, and sales"),
        ((0, 2), "Facebook Spend", "each once, got facebook_spend and Facebook Spend"),
        ((0, 2), "facebook_spend_micros", "facebook_spend_micros: expected money in units .* got micros"),
        ((0, 2), "cost_micros", "cost_micros: expected money in units of the currency, got micros"),
        ((0, 2), "instagram_spend_gross", "expected <channel>_spend, .* got 'gross' after it; rename the column"),
        ((0, 2), "instagram_spend ($)", "got '\\$' after it"),
        ((0, 2), "", "expected nothing in column 3, which has no name, got"),
        ((10, 1), "1,2", "line 11: expected 4 cells, got 5; a number with a comma must be quoted"),
        ((70, 3), '"5', "line 71: expected cells of CSV, got a quote that is not closed"),
    ],
)
def test_a_bad_cell_is_named_with_its_line(tmp_path: Path, cell: tuple[int, int], text: str, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        read(tmp_path, change(*cell, text))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "got nothing"),
        ([",".join(HEADER)], "at least 60 days, got a header alone"),
        (table()[:60], "at least 60 days, got 59"),
        ([*table(), "2026-03-12,5,6"], "line 72: expected 4 cells, got 3"),
        (["Campaign report", "January", *table()], "got Campaign report; line 3 has it: delete what stands above"),
        (table("{:.2f}".format, header=("day", *HEADER[1:]), separator=";"), "got day, facebook_spend"),
        (
            "\n".join(table(lambda amount: f"{amount:,.0f}".replace(",", "\xa0"))).encode("cp1252"),
            "has letters of another encoding; save the file as UTF-8",
        ),
        (b"\x00\x81\xff", "expected a CSV file, got bytes that are no text"),
        ("\n".join(table()).encode("utf-16-le"), "UTF-16 without its mark"),
        (gzip.compress(b"date", mtime=0), "got a file compressed by gzip"),
        (b"PK\x03\x04", "got an Excel workbook or another zip archive; save it as CSV"),
        (b"<!doctype html>", "got a page of HTML or XML"),
        (
            "\n".join(table(header=("date", "Köln_spend", "instagram_spend", "sales"))).encode("cp1252"),
            "expected UTF-8, got another encoding",
        ),
        (b" " * (32 * 1024 * 1024 + 1), "a CSV file of at most 32 MiB"),
        (table(lambda amount: f"{amount * 1e6:.0f}"), "facebook_spend: .*which are micros of 1,.* or millions a day"),
        (table(lambda amount: f"{amount * 1e6:.1f}"), "facebook_spend: .*which are micros of 1,.* or millions a day"),
        (
            table(header=(*HEADER, "media_spend"), more=lambda index: (f"{FACEBOOK[index] + INSTAGRAM[index]:.2f}",)),
            "media_spend: expected the spend of one channel, got 1 times what the others have together, as a total has",
        ),
        (
            table(header=(*HEADER, "tiktok_spend"), more=lambda index: (f"{SALES[: index + 1].sum():.2f}",)),
            "tiktok_spend: .* as a running total does",
        ),
    ],
)
def test_what_is_no_history_is_refused(tmp_path: Path, content: list[str] | bytes, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        read(tmp_path, content)


@pytest.mark.parametrize(
    ("days_between", "missing", "period"),
    [(lambda _: 7, (), "week"), (lambda _: 7, (4, 20), "week"), (lambda month: 28 + month % 4, (), "month")],
)
def test_a_file_of_weeks_or_months_is_no_daily_one_that_lacks_zeros(
    tmp_path: Path, days_between: Callable[[int], int], missing: tuple[int, ...], period: str
) -> None:
    days, lines = [FIRST], table()
    for index in range(DAYS - 1):
        days.append(days[-1] + timedelta(days=days_between(index)))
    content = [
        lines[0],
        *(",".join([str(day), *line.split(",")[1:]]) for day, line in zip(days, lines[1:], strict=True)),
    ]
    kept = [line for index, line in enumerate(content) if index not in missing]
    with pytest.raises(
        InvalidOption, match=f"got one for every {period}; export spends and sales by day: zeros between"
    ):
        read(tmp_path, kept)


def test_nothing_below_zero_is_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, change(10, 1, "-0.00")).spends[9, 0] == 0.0


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "absent.csv", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(InvalidOption, match=f"expected a CSV file \\({reason}"):
            read_history(path)


def test_columns_that_teach_nothing_are_refused(tmp_path: Path) -> None:
    known = History(FIRST, ("facebook", "instagram"), np.stack([FACEBOOK, INSTAGRAM], axis=1), SALES)
    for index, name in ((0, "facebook_spend"), (1, "instagram_spend")):
        spends = known.spends.copy()
        spends[:, index] = 0.0
        write_history(tmp_path / "idle.csv", replace(known, spends=spends))
        with pytest.raises(InvalidOption, match=f"{name}: expected a channel that was used at least once"):
            read_history(tmp_path / "idle.csv")
    write_history(tmp_path / "unsold.csv", replace(known, sales=np.zeros(DAYS)))
    with pytest.raises(InvalidOption, match="sales: expected sales on some day, got only zeros"):
        read_history(tmp_path / "unsold.csv")
