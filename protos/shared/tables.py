"""Tables on standard output: one line a row, whole in a pipe, with fewer columns where a terminal is narrow."""

import re
import shutil
import sys
from collections.abc import Sequence

GAP = "  "
FIGURE = re.compile(r"|-|nan|[-+]?[\d.,]+%?( to [-+]?[\d.,]+%?)?")
"""What stands to the right in a column that holds nothing else."""


def print_table(*layouts: Sequence[Sequence[str]]) -> None:
    """Print the first of the tables, widest first, that fits the terminal; the last where none does.

    Args:
        layouts: tables of the same things, each of rows, the first of them the names of the columns.
    """
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print("\n".join(first_fitting([aligned(rows) for rows in layouts], width)))  # noqa: T201 - what it is for


def first_fitting(tables: Sequence[Sequence[str]], width: int | None) -> Sequence[str]:
    """Return the lines of the first table that is at most `width` wide (None: any); of the last where none is."""
    fitting = (lines for lines in tables if width is None or max(map(len, lines)) <= width)
    return next(fitting, tables[-1])


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Join the cells of each row into a line, so that columns stand below one another, figures to the right.

    Args:
        rows: the first of them the names of the columns; later ones may be shorter.
    """
    whole = [[*row, *[""] * (len(rows[0]) - len(row))] for row in rows]
    columns = [_aligned(column) for column in zip(*whole, strict=True)]
    return [GAP.join(cells).rstrip() for cells in zip(*columns, strict=True)]


def _aligned(column: Sequence[str]) -> list[str]:
    """Fill the cells of a column up to one width."""
    width = max(map(len, column))
    has_figures = all(FIGURE.fullmatch(cell) for cell in column[1:])
    return [cell.rjust(width) if has_figures else cell.ljust(width) for cell in column]
