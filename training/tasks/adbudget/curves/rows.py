"""Rows of named fields, from a JSON or a CSV file, whose numbers are checked where they are read."""

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polserve.training.errors import InvalidOption, require

LARGEST_FILE = 64 * 2**20
"""Bytes: thousands of draws of many channels."""
CURVES = "curves"
"""The list of rows in a JSON file; what stands beside it holds for every row."""
OF_A_CURVE = (
    "channel", "saturation", "half_saturation", "slope", "rate", "sales_max", "retention", "lag", "draw",
)  # fmt: skip
OF_ALL = ("spend_unit", "return_unit", "return_value", "period", "adstock", "spend_scale", "return_scale", "channels")
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
        require(is_text, f"{self.where}: {name}", "text", value)
        return str(value).strip()

    def number(self, name: str, default: float | None = None) -> float:
        """Finite number of a field.

        Raises:
            InvalidOption: there is none and no default, or it is no number.
        """
        value = self.fields.get(name, default)
        try:
            number = math.nan if isinstance(value, bool) or value is None else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        require(math.isfinite(number), f"{self.where}: {name}", "a number, with a decimal point", value)
        return number

    def positive(self, name: str, default: float | None = None) -> float:
        """Read a number above 0; raises InvalidOption."""
        number = self.number(name, default)
        require(number > 0, f"{self.where}: {name}", "a number above 0", number)
        return number


def read_rows(path: Path) -> list[Row]:
    """Read the rows of a JSON file (an object with a list of them) or of a CSV file with a header.

    Raises:
        InvalidOption: the file cannot be read, or has no rows, or fields that are none of the form's.
    """
    text = _read(path)
    rows = _from_json(path, text) if text.lstrip()[:1] in {"{", "["} else _from_csv(path, text)
    require(bool(rows), f"{path}", "at least one curve", "none")
    for row in rows:
        for name in row.fields:
            known = OF_A_CURVE + OF_ALL
            hint = f", such as {ELSEWHERE[name.lower()]}" if str(name).lower() in ELSEWHERE else ""
            require(name in known, row.where, f"fields of {', '.join(known)}", f"{name!r}; use one of these{hint}")
    return rows


def _read(path: Path) -> str:
    try:
        size = path.stat().st_size
        require(size <= LARGEST_FILE, f"{path}", f"at most {LARGEST_FILE} bytes", size)
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidOption(f"{path}: expected a JSON or CSV file of curves, in UTF-8 ({error})") from error


def _from_json(path: Path, text: str) -> list[Row]:
    try:
        document = json.loads(text)
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


def _from_csv(path: Path, text: str) -> list[Row]:
    header = text.lstrip("\n").partition("\n")[0]
    separator = max(",;\t", key=header.count)
    try:
        lines = list(csv.reader(io.StringIO(text), delimiter=separator, strict=True))
    except csv.Error as error:
        raise InvalidOption(f"{path}: expected CSV ({error})") from error
    filled = [(number, line) for number, line in enumerate(lines, start=1) if any(cell.strip() for cell in line)]
    require(bool(filled), f"{path}", "a header and a row for each curve", "an empty file")
    names = [name.strip() for name in filled[0][1]]
    repeated = sorted({name for name in names if names.count(name) > 1})
    require(not repeated, f"{path}, line {filled[0][0]}", "each column once", f"{', '.join(repeated)} twice")
    rows = []
    for number, line in filled[1:]:
        where = f"{path}, line {number}"
        require(len(line) == len(names), where, f"{len(names)} cells, as in the header", len(line))
        fields = {name: cell.strip() for name, cell in zip(names, line, strict=True) if cell.strip()}
        rows.append(Row(path, where, fields))
    return rows
