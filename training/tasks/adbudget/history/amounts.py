"""Amounts of money as people and spreadsheets write them: what can be read in two ways is refused.

A whole column decides how it is written. 4.937 is four and a little more, or nearly five thousand; beside 12.50 or
0.3 it can only be the former, beside 1.204.937 only the latter.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from polserve.training.errors import InvalidOption
from polserve.training.tasks.adbudget.contexts import MOST_MONEY
from polserve.training.tasks.adbudget.history.sheets import REPLACEMENT, Cell

PLAIN = f"a plain number such as 1234.56, from 0 to {MOST_MONEY:g}"
MISSING = frozenset({"", "-", "--", "\N{EN DASH}", "\N{EM DASH}", "n/a", "na", "nan", "null", "none", "nil"})
SPACES = str.maketrans(dict.fromkeys("\u00a0\u2009\u202f", " ") | {"\u2019": "'", "\u2212": "-"})
"""What separates thousands besides the common signs, and the typographer's minus."""
TROUBLES = {
    f".*{REPLACEMENT}.*": ", which has letters of another encoding; save the file as UTF-8",
    "#.*": ", an error of a spreadsheet; mend the formula",
    r".*\d.*%|%.*\d.*": "; write an amount, not a percentage",
    r"(?=.*\d).*([^\W\d_]{2}|[^\W\d_eE]|[$€£¥₹₺₪₫₩]).*": (
        "; leave out signs and names of currencies, and units: a column `currency` tells them"
    ),
}
"""What no number has, and what to do."""
BELOW_ZERO = r"\(.*\d.*\)|.*\d.*-|-.*\d.*"
NOT_BELOW_ZERO = "; take refunds and corrections off the days that they belong to, down to 0"
MINUS_IN_FRONT = "; write what is below 0 with a minus in front, such as -5.00"
MARKS = {".": "a point", ",": "a comma"}


@dataclass(frozen=True, slots=True)
class _Style:
    """A way to write numbers."""

    decimal: str
    thousands: str

    def value(self, text: str) -> float | None:
        """Read the number that a text means, or None where it is not written so."""
        decimal, thousands = re.escape(self.decimal), re.escape(self.thousands)
        whole = rf"(?:\d+|[1-9]\d{{0,2}}(?:{thousands}\d{{3}})+)"
        if re.fullmatch(rf"[+-]?(?:{whole}(?:{decimal}\d*)?|{decimal}\d+)", text, re.ASCII):
            return float(text.replace(self.thousands, "").replace(self.decimal, "."))
        if re.fullmatch(rf"[+-]?\d+(?:{decimal}\d*)?[eE][+-]?\d{{1,3}}", text, re.ASCII):
            return float(text.replace(self.decimal, "."))
        return None


@dataclass(frozen=True, slots=True)
class _Range:
    """Numbers that a column may hold."""

    expected: str
    """In words, for errors."""
    most: float
    is_signed: bool = False

    def is_within(self, value: float | None) -> bool:
        """Whether a reading is such a number."""
        return value is not None and abs(value) <= self.most


STYLES = [
    _Style(decimal, thousands) for decimal, thousands in product(".,", (".", ",", "'", " ")) if decimal != thousands
]


def read_amounts(cells: Sequence[Cell]) -> list[float]:
    """Read the amounts of a column: numbers of at least 0.

    Raises:
        InvalidOption: a cell is no amount, or the column can be read in two ways.
    """
    return _read(cells, _Range(PLAIN, MOST_MONEY))


def read_numbers(cells: Sequence[Cell], most: float = MOST_MONEY) -> list[float]:
    """Read the numbers of a column, also those below 0; a reading that none of them can have, beyond `most`, is none.

    Raises:
        InvalidOption: a cell is no number, or the column can be read in two ways.
    """
    such = " such as -1234.56," if most == MOST_MONEY else ""
    return _read(cells, _Range(f"a plain number{such} of at most {most:g}", most, is_signed=True))


def _read(cells: Sequence[Cell], wanted: _Range) -> list[float]:
    texts = [re.sub(r"^-(?=[0.,]+$)", "", text.translate(SPACES).strip()) for _, text in cells]  # -0.00 is 0
    for (where, written), text in zip(cells, texts, strict=True):
        if trouble := _trouble(text, is_signed=wanted.is_signed):
            raise InvalidOption(f"{where}: expected {wanted.expected}, got {written[:40]!r}{trouble}")
    readings = {style: [style.value(text) for text in texts] for style in STYLES}
    whole = {style: values for style, values in readings.items() if None not in values}
    if not whole:
        _refuse(cells, readings, wanted.expected)
    possible = {style: values for style, values in whole.items() if all(map(wanted.is_within, values))}
    if not possible:
        raise _beyond(cells, list(whole.values()), wanted)
    (first, values), *others = possible.items()
    for style, its in others:
        for cell, one, another in zip(cells, values, its, strict=True):
            if one != another:
                raise _ambiguity(cell, {first: one, style: another})
    return [value or 0.0 for value in values]


def is_whole(cells: Sequence[Cell], amounts: Sequence[float]) -> bool:
    """Whether a column holds whole numbers, none of them with two decimals, as money is written; 5.0 is one."""
    return not any(
        re.search(r"[.,]\d\d$", text) or abs(amount - round(amount)) > 1e-3  # noqa: PLR2004 - a float's rounding
        for (_, text), amount in zip(cells, amounts, strict=True)
    )


def _beyond(cells: Sequence[Cell], readings: Sequence[Sequence[float | None]], wanted: _Range) -> InvalidOption:
    """Error for the first cell that is too large in every reading, or in the first one where each has its own."""
    beyond = [[not wanted.is_within(value) for value in values] for values in readings]
    everywhere = [all(cell) for cell in zip(*beyond, strict=True)]
    where, text = cells[(everywhere if any(everywhere) else beyond[0]).index(True)]
    return InvalidOption(f"{where}: expected {wanted.expected}, got {text[:40]}")


def _ambiguity(cell: Cell, readings: dict[_Style, float | None]) -> InvalidOption:
    where, text = cell
    said = [
        f"{value:.12g} if {MARKS[mark]} {'stands before decimals' if style.decimal == mark else 'separates thousands'}"
        for style, value in readings.items()
        for mark in MARKS
        if mark in text
    ]
    forms = " or ".join(f"{value:.12g}" if value == int(value or 0) else f"{value:.4f}" for value in readings.values())
    return InvalidOption(
        f"{where}: {text!r} can be read in two ways, as {' or as '.join(said)}, and no other number of the column "
        f"decides; write {forms}"
    )


def _refuse(cells: Sequence[Cell], readings: dict[_Style, list[float | None]], expected: str) -> None:
    """Raise for the first cell that is not written as most of the column is."""
    style, values = max(readings.items(), key=lambda reading: len(reading[1]) - reading[1].count(None))
    index = values.index(None)
    where, text = cells[index]
    hint = ""
    if any(other.value(text.translate(SPACES)) is not None for other in STYLES):
        its = next(
            (f", such as {cell[1]!r}" for cell, value in zip(cells, values, strict=True) if value is not None), ""
        )
        mark = MARKS[style.decimal]
        hint = f", while the column is mostly written with {mark} before decimals{its}; write all of it in one way"
    raise InvalidOption(f"{where}: expected {expected}, got {text[:40]!r}{hint}")


def _trouble(text: str, *, is_signed: bool) -> str:
    """Words on what a cell has that no number of any style has, and what to do; or ""."""
    if text.casefold() in MISSING:
        what = "the number" if is_signed else "0 where there was nothing, or the amount"
        return f"; what is missing is not 0: write {what}"
    if re.fullmatch(BELOW_ZERO, text, re.DOTALL) and not (is_signed and re.fullmatch(r"-[^()]*[^()-]", text)):
        return MINUS_IN_FRONT if is_signed else NOT_BELOW_ZERO
    return next((said for pattern, said in TROUBLES.items() if re.fullmatch(pattern, text, re.DOTALL)), "")
