"""Tables on standard output: one line a row, whole in a pipe, with fewer columns where a terminal is narrow."""

import shutil
import sys
from collections.abc import Sequence

GAP = "  "


def print_table(layouts: Sequence[Sequence[Sequence[str]]]) -> None:
    """Print the first of the tables, widest first, that fits the terminal; the last where none does.

    Args:
        layouts: tables of the same things, each of rows, the first of them the names of the columns.
    """
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print("\n".join(choose([aligned(rows) for rows in layouts], width)))


def choose(tables: Sequence[Sequence[str]], width: int | None) -> Sequence[str]:
    """Return the lines of the first table that is at most `width` wide (None: any); of the last where none is."""
    fitting = (lines for lines in tables if width is None or max(map(len, lines)) <= width)
    return next(fitting, tables[-1])


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Join the cells of each row into a line, so that columns stand below one another."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
