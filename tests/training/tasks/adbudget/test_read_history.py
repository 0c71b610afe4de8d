"""Histories as strangers bring them: read as they were meant."""

from pathlib import Path

import numpy as np
import pytest

from polserve.training.tasks.adbudget.accounts import CHANNELS
from polserve.training.tasks.adbudget.history.history import (
    Truth,
    read_history,
    simulate_history,
    write_history,
)
from tests.support.history_files import HEADER, SALES, english, german, is_right, read, table


@pytest.mark.parametrize(
    "content",
    [
        table(),
        table(german, separator=";"),
        table(german, separator="\t"),
        table(english),
        table(separator="|"),
        table(lambda amount: english(amount).replace(",", "'")),
        table(lambda amount: english(amount).replace(",", "\N{RIGHT SINGLE QUOTATION MARK}")),
        table(lambda amount: english(amount).replace(",", "\u202f").replace(".", ","), separator=";"),
        table("{:.4f}".format),
        ["sep=;", *table(german, separator=";")],
        ["", *table(), "", ""],
        [line.replace(",", ", ") for line in table()],
        [HEADER[0].join(["", table()[0].removeprefix("date")]), *reversed(table()[1:])],
    ],
)
def test_numbers_and_separators_that_have_one_reading_are_read(tmp_path: Path, content: list[str]) -> None:
    assert is_right(read(tmp_path, content))


@pytest.mark.parametrize("separator", ["\N{NO-BREAK SPACE}", " "])
def test_spaces_between_thousands_are_read(tmp_path: Path, separator: str) -> None:
    known = read(tmp_path, table(lambda amount: f"{amount:,.0f}".replace(",", separator)))
    assert is_right(known, rounding=0.51)


@pytest.mark.parametrize(
    "content",
    [
        "\n".join(table(german, separator="\t")).encode("utf-16"),
        b"\xef\xbb\xbf" + "\n".join(table()).encode(),
        "\r\n".join(table()).encode(),
        "\r".join(table()).encode(),
        "\n".join(table(header=(*HEADER, "Stadt"), more=lambda _: ("Köln",))).encode("cp1252"),
    ],
)
def test_encodings_and_line_ends_of_spreadsheets_are_read(tmp_path: Path, content: bytes) -> None:
    assert is_right(read(tmp_path, content))


@pytest.mark.parametrize(
    "form",
    ["%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%Y/%m/%d", "%Y%m%d", "%Y-%m-%dT00:00", "%Y-%m-%d 00:00:00"],
)
def test_days_that_the_column_allows_one_reading_of_are_read(tmp_path: Path, form: str) -> None:
    assert is_right(read(tmp_path, table(day=lambda day: day.strftime(form))))


@pytest.mark.parametrize(
    ("header", "more"),
    [
        ((*HEADER, "", ""), ("", "")),
        ((*HEADER, "", ""), ()),
        (HEADER, ("", "")),
        ((*HEADER, "note", "note"), ("-3 and rain", "b")),
        ((*HEADER, "note"), ('"a ""quoted"",\n word"',)),
        ((*HEADER, "currency"), ("",)),
        (("Date", "FACEBOOK_SPEND", "Instagram spend", "Sales"), ()),
    ],
)
def test_columns_that_are_not_used_are_ignored(tmp_path: Path, header: tuple[str, ...], more: tuple[str, ...]) -> None:
    content = [f"{line},{','.join(more)}" if more else line for line in table(header=header)[1:]]
    assert is_right(read(tmp_path, [",".join(header), *content]))


def test_columns_that_were_left_alone_are_named(tmp_path: Path) -> None:
    header = ("date", "facebook_spend", "instagram_cost", "sales", "", "currency", "promotion", "note")
    content = [f"{line},,EUR,0,x" for line in table(header=("date", "facebook_spend", "instagram_cost", "sales"))[1:]]
    history = read(tmp_path, [",".join(header), *content])
    assert history.channels == ("facebook",)
    assert history.ignored == ("instagram_cost", "note")


def test_channels_have_the_names_of_their_columns(tmp_path: Path) -> None:
    header = ("date", "Paid Social Spend", "tiktok_spend", "sales")
    assert read(tmp_path, table(header=header)).channels == ("Paid Social", "tiktok")


@pytest.mark.parametrize(
    ("header", "cell"),
    [
        ((*HEADER, "currency"), "EUR"),
        ((*HEADER, "Currency code"), "eur"),
        ((*HEADER, "account_currency"), "€"),
        (("date", "facebook_spend (EUR)", "instagram_spend_eur", "sales [€]"), ""),
        (("date", "facebook_spend (EUR)", "instagram_spend", "sales", "currency"), "EUR"),
    ],
)
def test_a_currency_that_is_told_is_the_accounts(tmp_path: Path, header: tuple[str, ...], cell: str) -> None:
    known = read(tmp_path, table(header=header, more=lambda _: (cell,) if cell else ()))
    assert is_right(known)
    assert known.currency == "EUR"


def test_three_decimals_are_read_where_one_number_of_the_column_decides(tmp_path: Path) -> None:
    """A number below 1, or of four digits, cannot have a separator of thousands at that place."""
    assert is_right(read(tmp_path, table("{:.3f}".format)))


def test_millions_a_day_are_read_where_the_currency_has_small_units(tmp_path: Path) -> None:
    content = table(lambda amount: f"{amount * 1e4:.0f}", header=(*HEADER, "currency"), more=lambda _: ("JPY",))
    known = read(tmp_path, content)
    assert known.currency == "JPY"
    assert known.sales == pytest.approx(SALES * 1e4)


def test_a_history_survives_being_written_down(tmp_path: Path) -> None:
    truth = Truth(channels=(CHANNELS["facebook"], CHANNELS["search"]), base_sales=1500.0)
    known = simulate_history(truth, 90, np.random.default_rng(0))
    write_history(tmp_path / "history.csv", known)
    again = read_history(tmp_path / "history.csv")
    assert (again.first_day, again.channels) == (known.first_day, known.channels)
    assert again.spends == pytest.approx(known.spends, abs=0.006)
    assert again.sales == pytest.approx(known.sales, abs=0.006)
