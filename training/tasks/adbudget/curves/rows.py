"""Rows of named fields, from a JSON or a CSV file, whose numbers are checked where they are read."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from polserve.training.errors import InvalidOption, require
from polserve.training.tasks.adbudget.contexts import MOST_MONEY
from polserve.training.tasks.adbudget.curves.response import MOST_LAG_DAYS, STEEPEST
from polserve.training.tasks.adbudget.history.amounts import read_numbers
from polserve.training.tasks.adbudget.history.sheets import MOST_BYTES, read_sheet

SNIFFED = 1024
"""First bytes of a file, which tell JSON from CSV."""
BEFORE_JSON = b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n"
"""Bytes that may stand before a document: marks of an encoding, and spaces."""
CURVES = "curves"
"""The list of rows in a JSON file; what stands beside it holds for every row."""
OF_A_CURVE = (
    "channel", "saturation", "half_saturation", "slope", "rate", "sales_max", "retention", "lag", "draw",
)  # fmt: skip
OF_ALL = ("spend_unit", "return_unit", "return_value", "period", "adstock", "spend_scale", "return_scale", "channels")
MOST: Mapping[str, float] = {
    "half_saturation": MOST_MONEY, "slope": STEEPEST, "rate": MOST_MONEY, "sales_max": MOST_MONEY, "retention": 1,
    "lag": MOST_LAG_DAYS, "draw": MOST_MONEY, "return_value": MOST_MONEY, "spend_scale": MOST_MONEY,
    "return_scale": MOST_MONEY,
}  # fmt: skip
"""Fields that are numbers, with the largest value of each: a slope of 2.145 cannot mean 2145, say."""
WANTED = "a header with channel, saturation, and the other fields of a curve"
ELSEWHERE: Mapping[str, str] = {
    "lam": "rate for logistic, half_saturation for michaelis-menten",
    "kappa": "half_saturation",
    "ec": "half_saturation",
    "ec50": "half_saturation",
    "gamma": "half_saturation: the inflexion point, gamma of the way through the range of the transformed spends",
    "inflexion": "half_saturation",
    "alpha": "slope for Robyn's Hill, retention for an adstock, sales_max for a Michaelis-Menten",
    "sigma": "slope",
    "theta": "retention",
    "decay": "retention",
    "beta": "sales_max",
    "coef": "sales_max",
    "currency": "spend_unit",
}
"""What names of other tools are called here."""


@dataclass(frozen=True, slots=True)
class Row:
    """Fields of one curve, with where they stand."""

    path: Path
    where: str
    fields: Mapping[str, Any]

    def text(self, name: str, default: str | None = None) -> str:
        """Text of a field.

        Raises:
            InvalidOption: there is none and no default, or it is no text.
        """
        value = self.fields.get(name, default)
        is_text = isinstance(value, str) and (bool(value.strip()) or default is not None)
        require(is_text, f"{self.where}: {name}", "text", "none" if value is None else value)
        return str(value).strip()

    def number(self, name: str, default: float | None = None) -> float:
        """Finite number of a field.

        Raises:
            InvalidOption: there is none and no default, or it is no number.
        """
        value = self.fields.get(name, default)
        try:
            number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
        except OverflowError:
            number = math.nan
        require(
            math.isfinite(number),
            f"{self.where}: {name}",
            "a number, with a decimal point",
            "none" if value is None else value,
        )
        return number

    def positive(self, name: str, default: float | None = None) -> float:
        """Read a number above 0; raises InvalidOption."""
        number = self.number(name, default)
        require(number > 0, f"{self.where}: {name}", "a number above 0", number)
        return number


def read_rows(path: Path) -> list[Row]:
    """Read the rows of a JSON file (an object with a list of them) or of a CSV file with a header.

    Numbers that are text are read as those of a history are: what can be read in two ways is refused.

    Raises:
        InvalidOption: the file cannot be read, or has no rows, or fields that are none of the form's.
    """
    is_json = _read(path, SNIFFED).lstrip(BEFORE_JSON)[:1] in {b"{", b"["}
    rows = _from_json(path) if is_json else _from_csv(path)
    require(bool(rows), f"{path}", "at least one curve", "none")
    for row in rows:
        for name in row.fields:
            known = OF_A_CURVE + OF_ALL
            hint = f", such as {ELSEWHERE[name.lower()]}" if str(name).lower() in ELSEWHERE else ""
            require(name in known, row.where, f"fields of {', '.join(known)}", f"{name!r}; use one of these{hint}")
    return _with_numbers(rows)


def _read(path: Path, most: int) -> bytes:
    """Read up to `most` bytes; raises InvalidOption."""
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise InvalidOption(f"{path}: expected a JSON or CSV file of curves ({error})") from error


def _from_json(path: Path) -> list[Row]:
    data = _read(path, MOST_BYTES + 1)
    require(len(data) <= MOST_BYTES, f"{path}", f"a JSON file of at most {MOST_BYTES >> 20} MiB", "more")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidOption(f"{path}: expected JSON ({error})") from error
    require(isinstance(document, dict), f"{path}", f"an object with a list {CURVES!r}", type(document).__name__)
    rows, common = document.get(CURVES), {name: value for name, value in document.items() if name != CURVES}
    require(isinstance(rows, list), f"{path}: {CURVES}", "a list of objects, one for each curve", type(rows).__name__)
    found = []
    for number, row in enumerate(rows or [], start=1):
        where = f"{path}, curve {number}"
        require(isinstance(row, dict), where, "an object", type(row).__name__)
        found.append(Row(path, where, {**common, **row}))
    return found


def _from_csv(path: Path) -> list[Row]:
    """Rows of a CSV file, whatever a spreadsheet made of it; empty cells are fields that are not there."""
    sheet = read_sheet(path, lambda cells: len(cells) > 1 and "channel" in map(_field, cells), WANTED)
    names = [_field(name) for name in sheet.header]
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    require(not repeated, f"{path}, line {sheet.header_line}", "each column once", f"{', '.join(repeated)} twice")
    rows = []
    for line, cells in sheet.rows:
        fields: dict[str, Any] = {name: cell for name, cell in zip(names, cells, strict=True) if cell}
        if "channels" in fields:
            fields["channels"] = [name.strip() for name in re.split(r"[,;|]", fields["channels"]) if name.strip()]
        rows.append(Row(path, f"{path}, line {line}", fields))
    return rows


def _field(name: str) -> str:
    """Field that a column's name stands for, in whatever case and with spaces; the name where it is none."""
    key = re.sub(r"[\s_-]+", "_", name.strip()).casefold()
    return key if key in OF_A_CURVE + OF_ALL else name


def _with_numbers(rows: Sequence[Row]) -> list[Row]:
    """Rows with numbers in place of texts that mean one; all texts of a field are read together, as a column is."""
    read: list[dict[str, float]] = [{} for _ in rows]
    for name, most in MOST.items():
        texts = {index: row.fields[name] for index, row in enumerate(rows) if isinstance(row.fields.get(name), str)}
        numbers = read_numbers([(f"{rows[index].where}: {name}", text) for index, text in texts.items()], most)
        for index, number in zip(texts, numbers, strict=True):
            read[index][name] = number
    return [replace(row, fields={**row.fields, **own}) for row, own in zip(rows, read, strict=True)]
