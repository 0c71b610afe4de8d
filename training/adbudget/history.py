"""What an account spent and sold, day by day: read from a CSV file, or simulated with a known truth."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.adbudget.context import DAYS_A_WEEK, MOST_MONEY, WEEKDAY_DEMAND
from training.adbudget.response import Channel, Floats, Response, geometric_adstock
from training.errors import InvalidOption, require

LEAST_DAYS = 60
"""Fewer days tell next to nothing of carry-over and saturation."""
SPEND_SUFFIX = "_spend"
ABSURD = 1000.0
"""Times the channel's median day: a slip of units, such as micros."""


@dataclass(frozen=True, slots=True)
class History:
    """Consecutive days of an account."""

    first_day: date
    channels: tuple[str, ...]
    spends: Floats  # (days, channels), money
    sales: Floats  # (days,)

    @property
    def weekday(self) -> NDArray[np.int64]:
        """Of each day (days,), 0 for Monday."""
        return np.asarray((self.first_day.weekday() + np.arange(len(self.sales))) % DAYS_A_WEEK)


def read_history(path: Path) -> History:
    """The history in a CSV file with the columns `date` (2026-01-31), `<channel>_spend` for each channel, and `sales`.

    Raises:
        InvalidOption: the file is no such history, or too little can be learned from it; the error names the line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidOption(f"{path}: expected a CSV file ({error})") from error
    header = [name.strip() for name in lines[0]] if lines else []
    channels = tuple(name.removesuffix(SPEND_SUFFIX) for name in header if name.endswith(SPEND_SUFFIX))
    wanted = "a header with date, <channel>_spend for each channel, and sales, each once"
    is_complete = bool(channels) and {"date", "sales"} <= set(header) and len(set(header)) == len(header)
    require(is_complete, f"{path}, line 1", wanted, ", ".join(header) or "nothing")
    wanted_columns = {"date", "sales", *(f"{name}{SPEND_SUFFIX}" for name in channels)}
    rows = []
    for number, cells in enumerate(lines[1:], start=2):
        if any(cell.strip() for cell in cells):
            require(len(cells) == len(header), f"{path}, line {number}", f"{len(header)} cells", len(cells))
            named = {name: cell for name, cell in zip(header, cells, strict=True) if name in wanted_columns}
            rows.append(_row(f"{path}, line {number}", named))
    rows.sort(key=lambda row: row[0])
    _check_days(path, [row[0] for row in rows])
    spends = np.array([[row[1][f"{name}{SPEND_SUFFIX}"] for name in channels] for row in rows])
    sales = np.array([row[1]["sales"] for row in rows])
    for name, spend in zip(channels, spends.T, strict=True):
        require(
            bool(spend.any()),
            f"{path}: {name}{SPEND_SUFFIX}",
            "a channel that was used at least once; leave the column out",
            "only zeros",
        )
        median, most = float(np.median(spend[spend > 0])), float(spend.max())
        day = rows[int(spend.argmax())][0]
        usual = f"at most {ABSURD:g} times the median of {median:g} on the days that it was used; check the units"
        require(most <= ABSURD * median, f"{path}: {name}{SPEND_SUFFIX} of {day}", usual, f"{most:g}")
    require(bool(sales.any()), f"{path}: sales", "sales on some day", "only zeros")
    return History(rows[0][0], channels, spends, sales)


def write_history(path: Path, history: History) -> None:
    """`path` holds the history as `read_history` takes it."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["date", *(f"{name}{SPEND_SUFFIX}" for name in history.channels), "sales"])
        for index, (spends, sales) in enumerate(zip(history.spends, history.sales, strict=True)):
            day = history.first_day + timedelta(days=index)
            writer.writerow([day.isoformat(), *(f"{spend:.2f}" for spend in spends), f"{sales:.2f}"])


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
    """A history of a known truth: weekly campaigns of changing size, some weeks without, and daily ups and downs."""
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


def _row(where: str, cells: dict[str, str]) -> tuple[date, dict[str, float]]:
    try:
        day = date.fromisoformat(cells["date"].strip())
    except ValueError as error:
        raise InvalidOption(f"{where}: date: expected a day such as 2026-01-31, got {cells['date']!r}") from error
    numbers = {name: _amount(f"{where}: {name}", text) for name, text in cells.items() if name != "date"}
    return day, numbers


def _amount(where: str, text: str) -> float:
    plain = "a plain number such as 1234.56, with neither currency signs nor thousands separators"
    try:
        value = float("" if "_" in text else text)  # Python itself would take 1_000
    except ValueError as error:
        raise InvalidOption(f"{where}: expected {plain}, got {text.strip()!r}") from error
    require(isfinite(value) and 0 <= value <= MOST_MONEY, where, f"{plain}, from 0 to {MOST_MONEY:g}", text.strip())
    return value


def _check_days(path: Path, days: Sequence[date]) -> None:
    for before, after in pairwise(days):
        require(after != before, f"{path}", "each date once; add up what was spent and sold on it", f"{after} twice")
        gap = f"none between {before} and {after}"
        require(
            after - before == timedelta(days=1),
            f"{path}",
            "a line for every day, with zeros where there is nothing",
            gap,
        )
    require(len(days) >= LEAST_DAYS, f"{path}", f"at least {LEAST_DAYS} days", len(days))
