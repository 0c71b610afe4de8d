"""What an account spent and sold, day by day: read from a CSV file, or simulated with a known truth."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polserve.training.errors import InvalidOption, require
from polserve.training.tasks.adbudget.contexts import DAYS_A_WEEK, WEEKDAY_DEMAND
from polserve.training.tasks.adbudget.curves.response import Channel, Floats, Response, geometric_adstock
from polserve.training.tasks.adbudget.history.amounts import is_whole, read_amounts
from polserve.training.tasks.adbudget.history.columns import WANTED, currency_of, find_columns, is_header
from polserve.training.tasks.adbudget.history.controls import Control, Kind, read_controls
from polserve.training.tasks.adbudget.history.currencies import OF_SMALL_UNITS
from polserve.training.tasks.adbudget.history.dates import read_days
from polserve.training.tasks.adbudget.history.sheets import Cell, Sheet, read_sheet
from polserve.training.tasks.adbudget.history.totals import NAMED, times_the_others

LEAST_DAYS = 60
"""Fewer days tell next to nothing of carry-over and saturation."""
SPEND_SUFFIX = "_spend"
ABSURD = 1000.0
"""Times the channel's median day: a slip of units, such as micros."""
MICROS = 1_000_000
"""In a unit: amounts that are whole and usually larger are perhaps no money."""
SALES_PER_SPEND = 10_000
"""More than any account sells for what it spends."""
DAYS_A_MONTH = 28
"""Of the shortest one."""


@dataclass(frozen=True, slots=True)
class History:
    """Consecutive days of an account."""

    first_day: date
    channels: tuple[str, ...]
    spends: Floats  # (days, channels), money
    sales: Floats  # (days,)
    currency: str = ""
    """ISO 4217, or "" where the history does not tell it."""
    controls: tuple[Control, ...] = ()
    """Events, prices and promotions."""
    ignored: tuple[str, ...] = ()
    """Names of the columns of its file that were left alone."""

    @property
    def weekday(self) -> NDArray[np.int64]:
        """Weekday of each day (days,), 0 for Monday."""
        return np.asarray((self.first_day.weekday() + np.arange(len(self.sales))) % DAYS_A_WEEK)


def read_history(path: Path) -> History:
    """Read a CSV file with the columns `date` (2026-01-31), `<channel>_spend` for each channel, and `sales`.

    A column `currency`, or a currency after a column's name, tells the money. Columns named as events, holidays,
    promotions or prices tell what else moves sales.

    Raises:
        InvalidOption: the file is no such history, can be read in two ways, or too little can be learned from it; the
            error names the line.
    """
    sheet = read_sheet(path, is_header, WANTED)
    columns = find_columns(sheet)
    require(bool(sheet.rows), str(path), f"at least {LEAST_DAYS} days", "a header alone")
    days = read_days(sheet.column(columns.date))
    cells = [sheet.column(index) for index in (*columns.spends.values(), columns.sales)]
    amounts = np.array([read_amounts(column) for column in cells])
    currency = currency_of(sheet, columns)
    order = np.argsort(np.array([day.toordinal() for day in days]), kind="stable")
    _check_days(path, [days[index] for index in order])
    controls = _controls(sheet, columns.controls, order)
    first, channels = days[order[0]], tuple(columns.spends)
    history = History(first, channels, amounts[:-1, order].T, amounts[-1, order], currency, controls, columns.ignored)
    _check_units(path, history, cells)
    _check_use(path, history)
    return history


def _controls(sheet: Sheet, kinds: Mapping[int, Kind], order: NDArray[np.intp]) -> tuple[Control, ...]:
    """Read events, promotions and prices, in the order of the days."""
    read = [read_controls(sheet.header[index], kind, sheet.column(index)) for index, kind in kinds.items()]
    return tuple(replace(each, values=each.values[order]) for several in read for each in several)


def write_history(path: Path, history: History) -> None:
    """`path` holds the history as `read_history` takes it."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        controls = [control.name for control in history.controls]
        writer.writerow(["date", *(f"{name}{SPEND_SUFFIX}" for name in history.channels), "sales", *controls])
        for index, (spends, sales) in enumerate(zip(history.spends, history.sales, strict=True)):
            day = history.first_day + timedelta(days=index)
            also = [f"{control.values[index]:g}" for control in history.controls]
            writer.writerow([day.isoformat(), *(f"{spend:.2f}" for spend in spends), f"{sales:.2f}", *also])


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What a simulated history is made of."""

    channels: tuple[Channel, ...]
    base_sales: float
    """Sales a day without any spend, on an average weekday."""
    weekday_demand: tuple[float, ...] = WEEKDAY_DEMAND
    sales_noise: float = 0.05
    """Standard deviation of the logarithm of a day's sales."""


def simulate_history(truth: Truth, days: int, rng: np.random.Generator, first_day: date = date(2024, 1, 1)) -> History:
    """Simulate a history: weekly campaigns of changing size, some weeks without, and daily ups and downs."""
    response = Response(truth.channels)
    n = len(truth.channels)
    weeks = days // DAYS_A_WEEK + 1
    level = response.half_saturation * rng.lognormal(-0.2, 0.7, (weeks, n)) * (rng.random((weeks, n)) > 0.15)  # noqa: PLR2004
    spends = np.repeat(level, DAYS_A_WEEK, axis=0)[:days] * rng.lognormal(0, 0.25, (days, n))
    adstock = geometric_adstock(spends, response.retention)
    weekday = (first_day.weekday() + np.arange(days)) % DAYS_A_WEEK
    expected = np.array(truth.weekday_demand)[weekday] * (truth.base_sales + response.sales(adstock).sum(axis=1))
    sigma = truth.sales_noise
    sales = expected * rng.lognormal(-(sigma**2) / 2, sigma, days)
    return History(first_day, response.names, spends, sales)


def _check_units(path: Path, history: History, cells: Sequence[Sequence[Cell]]) -> None:
    """Refuse amounts that are likely to be in another unit than the currency's."""
    spent = float(history.spends.sum())
    for name, column, amounts in zip(_names(history), cells, [*history.spends.T, history.sales], strict=True):
        median = float(np.median(amounts[amounts > 0])) if amounts.any() else 0.0
        is_sales = amounts is history.sales
        is_large = amounts.sum() > SALES_PER_SPEND * spent if is_sales else history.currency not in OF_SMALL_UNITS
        require(
            not (median >= MICROS and is_large and is_whole(column, amounts.tolist())),
            f"{path}: {name}",
            "money in units of the currency",
            f"whole numbers with a median of {median:,.0f}, which are micros of {median / MICROS:,.2f} or millions a "
            "day; divide micros by 1,000,000, write millions with two decimals",
        )
        rises = np.diff(amounts)
        require(
            bool((rises < 0).any()) or float((rises > 0).mean()) < 0.9,  # noqa: PLR2004 - budgets rise in steps
            f"{path}: {name}",
            "the amounts of single days",
            "amounts that rise day by day, as a running total does; write each day's own",
        )


def _check_use(path: Path, history: History) -> None:
    """Refuse columns of which nothing can be learned."""
    for index, (name, spend) in enumerate(zip(_names(history), history.spends.T, strict=False)):
        require(
            bool(spend.any()),
            f"{path}: {name}",
            "a channel that was used at least once; leave the column out",
            "only zeros",
        )
        median, most = float(np.median(spend[spend > 0])), float(spend.max())
        day = history.first_day + timedelta(days=int(spend.argmax()))
        usual = f"at most {ABSURD:g} times the median of {median:g} on the days that it was used; check the units"
        require(most <= ABSURD * median, f"{path}: {name} of {day}", usual, f"{most:g}")
        _check_is_channel(f"{path}: {name}", history.channels[index], spend, np.delete(history.spends, index, axis=1))
    require(bool(history.sales.any()), f"{path}: sales", "sales on some day", "only zeros")


def _check_is_channel(where: str, channel: str, spend: Floats, others: Floats) -> None:
    """Refuse a column that is a total of the others, by its name or by its amounts."""
    wanted = "the spend of one channel"
    is_named = bool(others.size and NAMED.fullmatch(channel))
    require(not is_named, where, wanted, "a total, by its name; delete it, or rename it if it is a channel")
    times = times_the_others(spend, others)
    got = f"{times or 0:.4g} times what the others have together, as a total has; delete it, or, if it is a channel"
    remedy = "add its spends to those of another, since what follows their sum says little of its own"
    require(times is None, where, wanted, f"{got}, {remedy}")


def _names(history: History) -> list[str]:
    return [*(f"{name}{SPEND_SUFFIX}" for name in history.channels), "sales"]


def _check_days(path: Path, days: Sequence[date]) -> None:
    gaps = [(after - before).days for before, after in pairwise(days)]
    repeated = [day for day, gap in zip(days, gaps, strict=False) if gap == 0]
    if repeated:
        day = repeated[0]
        raise InvalidOption(f"{path}: expected each date once; add up what was spent and sold on it, got {day} twice")
    if period := _period(gaps):
        raise InvalidOption(
            f"{path}: expected a line for every day, got one for every {period}; export spends and sales by day: "
            f"zeros between the lines would be wrong, and the sums of a {period} do not tell what each of its days sold"
        )
    for before, after in pairwise(days):
        gap = f"none between {before} and {after}"
        every_day = "a line for every day, with zeros where nothing was spent or sold"
        require(after - before == timedelta(days=1), f"{path}", every_day, gap)
    require(len(days) >= LEAST_DAYS, f"{path}", f"at least {LEAST_DAYS} days", len(days))


def _period(gaps: Sequence[int]) -> str | None:
    """Tell by the days between the lines what each is of: "week", "month", or None for neither."""
    if gaps and min(gaps) >= DAYS_A_MONTH:
        return "month"
    return "week" if gaps and all(gap % DAYS_A_WEEK == 0 for gap in gaps) else None
