"""Tables on standard output: one line a row, nothing left out, the same on a terminal and in a pipe."""

from collections.abc import Iterable, Sequence


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows below the names of their columns; the first column to the left, figures to the right."""
    lines = [[*row, *[""] * (len(columns) - len(row))] for row in (columns, *rows)]
    first, *widths = (max(map(len, column)) for column in zip(*lines, strict=True))
    for name, *figures in lines:
        cells = [name.ljust(first), *(figure.rjust(width) for figure, width in zip(figures, widths, strict=True))]
        print("  ".join(cells).rstrip())
