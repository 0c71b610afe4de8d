"""Files of an advertising account's history, as strangers write them."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from polserve.training.tasks.adbudget.history.history import (
    History,
    read_history,
)

DAYS = 70
FIRST = date(2026, 1, 1)
HEADER = ("date", "facebook_spend", "instagram_spend", "sales")
RNG = np.random.default_rng(0)
FACEBOOK, INSTAGRAM = RNG.uniform(200, 3000, DAYS).round(2), RNG.uniform(50, 2000, DAYS).round(2)
SALES = (2 * FACEBOOK + INSTAGRAM + 500 * RNG.random(DAYS)).round(2)


def english(amount: float) -> str:
    return f"{amount:,.2f}"


def german(amount: float) -> str:
    return english(amount).translate(str.maketrans(",.", ".,"))


def table(
    write: Callable[[float], str] = "{:.2f}".format,
    day: Callable[[date], str] = date.isoformat,
    *,
    header: tuple[str, ...] = HEADER,
    separator: str = ",",
    more: Callable[[int], tuple[str, ...]] = lambda _: (),
) -> list[str]:
    """The lines of a file; `more` are the cells behind the sales of a day."""
    lines = [separator.join(header)]
    for index, amounts in enumerate(zip(FACEBOOK, INSTAGRAM, SALES, strict=True)):
        cells = (day(FIRST + timedelta(days=index)), *map(write, amounts), *more(index))
        lines.append(separator.join(f'"{cell}"' if separator in cell else cell for cell in cells))
    return lines


def change(line: int, column: int, text: str) -> list[str]:
    """The lines of a good file but for one cell."""
    lines = table()
    cells = lines[line].split(",")
    cells[column] = text
    return [*lines[:line], ",".join(cells), *lines[line + 1 :]]


def read(folder: Path, content: list[str] | bytes) -> History:
    path = folder / "history.csv"
    path.write_bytes(content if isinstance(content, bytes) else "\n".join(content).encode())
    return read_history(path)


def is_right(known: History, rounding: float = 0.006) -> bool:
    """Whether a history is the one that `table` writes."""
    amounts = ((known.spends[:, 0], FACEBOOK), (known.spends[:, 1], INSTAGRAM), (known.sales, SALES))
    return known.first_day == FIRST and all(np.allclose(one, other, atol=rounding) for one, other in amounts)
