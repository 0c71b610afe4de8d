"""Days as spreadsheets write them: a whole column decides, and what can be read in two ways is refused."""

import re
from collections.abc import Sequence
from datetime import date, timedelta

from polserve.training.errors import InvalidOption
from polserve.training.tasks.adbudget.history.sheets import Cell

DAY = "a day such as 2026-01-31"
YEARS = range(1990, 2101)
MIDNIGHT = r"(?:[T ]00?:00(?::00(?:\.0+)?)?)?"
FORMS = {
    "year, month, day": re.compile(rf"(\d{{4}})([-/.])(\d{{1,2}})\2(\d{{1,2}}){MIDNIGHT}", re.ASCII),
    "year, month, day, in digits alone": re.compile(r"(\d{4})()(\d\d)(\d\d)", re.ASCII),
    "year last": re.compile(rf"(\d{{1,2}})([-/.])(\d{{1,2}})\2(\d{{4}}){MIDNIGHT}", re.ASCII),
}
TOTALS = re.compile(
    r"(grand )?(total\w*|sum|summe|gesamt\w*|insgesamt|totaal|suma|average|mean|durchschnitt|mittelwert)\b.*",
    re.IGNORECASE,
)
EPOCHS = (date(1899, 12, 30), date(1904, 1, 1))
"""Day 0 of a spreadsheet's numbers for days: by Excel, and by Excel as it was on the Macintosh."""


def read_days(cells: Sequence[Cell]) -> list[date]:
    """Read the days of a column.

    Raises:
        InvalidOption: a cell is no day, or the column can be read in two ways.
    """
    first = cells[0][1]
    form = next((pattern for pattern in FORMS.values() if pattern.fullmatch(first)), None)
    if form is None:
        raise _refusal(cells[0])
    parts = []
    for cell in cells:
        match = form.fullmatch(cell[1])
        if match is None:
            raise _refusal(cell, f"; the first line has {first!r}: write all days in one way")
        parts.append((int(match[1]), int(match[3]), int(match[4])))
    if form is FORMS["year last"]:
        return _year_last(cells, parts)
    return [_checked(cell, _day(*part)) for cell, part in zip(cells, parts, strict=True)]


def _year_last(cells: Sequence[Cell], parts: Sequence[tuple[int, int, int]]) -> list[date]:
    """Days whose order of day and month the column tells: a number above 12 is no month."""
    day_first = [_day(year, month, day) for day, month, year in parts]
    month_first = [_day(year, month, day) for month, day, year in parts]
    if None not in day_first and None not in month_first:
        for (where, text), one, another in zip(cells, day_first, month_first, strict=True):
            if one != another:
                raise InvalidOption(
                    f"{where}: {text!r} can be read as {one} or as {another}, and no other line decides; write {DAY}"
                )
    days = min(day_first, month_first, key=lambda read: read.count(None))
    return [_checked(cell, day) for cell, day in zip(cells, days, strict=True)]


def _day(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _checked(cell: Cell, day: date | None) -> date:
    if day is None:
        raise _refusal(cell, ", which is in no calendar")
    if day.year not in YEARS:
        raise _refusal(cell, f"; a year is from {YEARS[0]} to {YEARS[-1]}")
    return day


def _refusal(cell: Cell, hint: str = "") -> InvalidOption:
    where, text = cell
    return InvalidOption(f"{where}: expected {DAY}, got {text[:40]!r}{_trouble(text) or hint}")


def _trouble(text: str) -> str:
    """Why a cell is no day that can be read in one way; or ""."""
    if not text or TOTALS.fullmatch(text):
        return "; delete lines of totals, and others that are no day's"
    if re.search(r"\d[T ]\d?\d:\d\d", text):
        return ": a day here is the account's own, without a time and a time zone"
    if re.fullmatch(r"\d{1,2}[-/.]\d{1,2}[-/.]\d{1,2}", text):
        return ": a year has four digits"
    if re.fullmatch(r"[2-6]\d{4}(\.0+)?", text):
        one, another = (epoch + timedelta(days=int(float(text))) for epoch in EPOCHS)
        return f", a spreadsheet's number for {one} or, where it counts from 1904, {another}; format the column as days"
    return ""
