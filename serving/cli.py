"""The `polserve` program: finds its commands by entry point and imports only the one that is called."""

import importlib.util
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import Annotated

import typer

from polserve.protos.shared.imports import OFFLINE_SIDE
from polserve.serving.failures import end_well

GROUP = "polserve.commands"
PACKAGE = "polserve"


def build(arguments: Sequence[str]) -> typer.Typer:
    """Make the command line, with the command that `arguments` call, or with all where they call none."""
    app = typer.Typer(
        callback=polserve,
        invoke_without_command=True,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # whose tables cut the flags and variables that one wants to copy
    )
    called = next((word for word in arguments if not word.startswith("-")), None)
    commands = _commands(called)
    for name in [called] if called in commands else sorted(commands):
        command = commands[name].load()
        if isinstance(command, typer.Typer):  # a group of commands
            app.add_typer(command, name=name)
        else:
            app.command(name=name)(command)
    return app


def polserve(
    *,
    is_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Serve trained reinforcement-learning policies, and train them."""
    if is_version:
        typer.echo(version(PACKAGE))
        raise typer.Exit


def main() -> None:
    """Run the command line, and end as `end_well` says."""
    end_well(lambda: build(sys.argv[1:])(prog_name="polserve"))


def _commands(called: str | None) -> dict[str, EntryPoint]:
    """Find the commands whose package is installed; return them by name.

    Raises:
        ModuleNotFoundError: the command that is called belongs to the offline side, which is not installed.
        PackageNotFoundError: polserve is not installed, or an older one is, whose commands are gone.
    """
    entries = {entry.name: entry for entry in entry_points(group=GROUP)}
    if not any(entry.module.startswith(f"{PACKAGE}.") for entry in entries.values()):
        raise PackageNotFoundError(PACKAGE)
    if importlib.util.find_spec(OFFLINE_SIDE) is not None:
        return entries
    online = {name: entry for name, entry in entries.items() if not entry.module.startswith(f"{OFFLINE_SIDE}.")}
    if called in entries and called not in online:
        raise ModuleNotFoundError(name=OFFLINE_SIDE)
    return online


if __name__ == "__main__":
    main()
