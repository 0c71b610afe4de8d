"""What a history tells of a day beside spends and sales: events, prices and promotions."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from polserve.training.errors import InvalidOption, require
from polserve.training.tasks.adbudget.curves.response import Floats
from polserve.training.tasks.adbudget.history.amounts import read_amounts
from polserve.training.tasks.adbudget.history.sheets import Cell

Kind: TypeAlias = Literal["event", "promotion", "price"]
KINDS: dict[str, Kind] = {
    "event": "event",
    "holiday": "event",
    "promotion": "promotion",
    "promo": "promotion",
    "price": "price",
}
"""Kinds of columns, by how their names end; a plural is as good."""
MOST_LABELS = 40
"""More events than a fit can tell apart."""
NO_EVENT = frozenset({"", "-", "0", "no", "none", "false", "n/a", "na"})
AN_EVENT = frozenset({"yes", "true"})
"""What says that there is one, and neither names nor measures it."""


@dataclass(frozen=True, slots=True)
class Control:
    """One column of a history that is neither a spend nor sales, such as a price."""

    name: str
    kind: Kind
    values: Floats  # (days,)

    @property
    def column(self) -> Floats:
        """What the logarithm of demand depends on: 0 on a day without an event or promotion, and at the mean price."""
        if self.kind == "price":
            logarithm = np.log(self.values)
            return np.asarray(logarithm - logarithm.mean())
        return np.asarray(self.values / self.values.max())

    @property
    def deviation(self) -> float:
        """Prior standard deviation of the weight: an event may double sales, an elasticity may well be -2."""
        return 2.0 if self.kind == "price" else 0.7


def read_controls(name: str, kind: Kind, cells: Sequence[Cell]) -> list[Control]:
    """Read a column; each name of an event or promotion is a control of its own, and one that never changes is none.

    Raises:
        InvalidOption: a cell is no number where the column has numbers, or a price is not positive.
    """
    if kind == "event" and any(_is_label(text) for _, text in cells):
        return _labelled(name, cells)
    if kind == "promotion" and any(_is_label(text) and not _is_size(text) for _, text in cells):
        return _labelled(name, cells)
    if kind != "price":
        cells = [(where, _measured(text)) for where, text in cells]
    try:
        values = np.array(read_amounts(cells))
    except InvalidOption as error:
        raise InvalidOption(f"{error}; or rename the column, and the fit leaves it out") from error
    if kind == "price":
        for (where, text), value in zip(cells, values, strict=True):
            require(value > 0, where, "a price above 0 on every day, sold or not", text)
    return [Control(name, kind, values)] if values.max() > values.min() else []


def _measured(text: str) -> str:
    """Tell the number that a cell means, by words or digits; the text where it is neither."""
    said = text.casefold()
    return "0" if said in NO_EVENT else "1" if said in AN_EVENT else text


def _is_label(text: str) -> bool:
    """Whether a cell names an event, and does not count or measure it."""
    return text.casefold() not in NO_EVENT | AN_EVENT and re.search(r"[^\W\d_]", text) is not None


def _is_size(text: str) -> bool:
    """Whether a cell begins with a number, as -20 EUR does: a size that is not written as a plain one."""
    return re.match(r"\W*\d", text) is not None


def _labelled(name: str, cells: Sequence[Cell]) -> list[Control]:
    """Events by their labels; where each day has one, the commonest is that of an ordinary day."""
    labels = [text.casefold() for _, text in cells]
    days = Counter(label for label in labels if label not in NO_EVENT)
    if days.total() == len(labels):
        del days[days.most_common(1)[0][0]]
    if len(days) > MOST_LABELS:
        raise InvalidOption(
            f"{cells[0][0]}: expected at most {MOST_LABELS} different events, got {len(days)}; give days that are "
            "alike one name, or rename the column, and the fit leaves it out"
        )
    return [Control(f"{label} {name}", "event", np.array([float(one == label) for one in labels])) for label in days]
