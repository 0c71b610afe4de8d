"""What every benchmark shares: its options, an aligned table, and its figures as JSON on the last line."""

import argparse
import json
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table


def options(description: str) -> argparse.ArgumentParser:
    """Make a parser with --quick and --json."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a run of under a minute")
    parser.add_argument("--json", action="store_true", help="make the last line one JSON object with the figures")
    return parser


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print an aligned table."""
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*row)
    Console(width=120).print(table)


def finish(figures: Mapping[str, float], *, as_json: bool) -> None:
    """Print the figures, as JSON or a line each."""
    if as_json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name}: {value:.4g}")
