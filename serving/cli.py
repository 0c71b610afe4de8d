"""The `polserve` program: finds its commands by entry point and imports only the one that is called."""

import importlib.util
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points, version
from typing import Annotated

import typer
from rich.console import Console

from polserve.protos.shared.packages import missing_package

GROUP = "polserve.commands"
EXTRAS = {
    "training": (
        *("gymnasium", "imageio", "matplotlib", "mlflow", "onnx", "onnxscript", "psutil", "scipy", "torch"),
        "training",
    ),
    "atari": ("ale_py",),
}
"""Modules that an extra brings."""


def build(arguments: Sequence[str]) -> typer.Typer:
    """The command line with the command that `arguments` call, or with all of them where they call none."""
    app = typer.Typer(
        callback=polserve,
        invoke_without_command=True,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # whose tables cut the flags and variables that one wants to copy
    )
    commands = _commands()
    called = next((word for word in arguments if not word.startswith("-")), None)
    for name in [called] if called in commands else sorted(commands):
        app.command(name=name)(commands[name].load())
    return app


def polserve(
    *,
    is_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Serve trained reinforcement-learning policies, and train them."""
    if is_version:
        typer.echo(version("polserve"))
        raise typer.Exit


def main() -> None:
    """Run the command line; what a user can cause is one line on standard error.

    The exit code is 2 for bad usage, 1 for failure.
    """
    try:
        build(sys.argv[1:])(prog_name="polserve")
    except KeyboardInterrupt:
        sys.exit(130)
    except ModuleNotFoundError as error:
        _fail(_missing(error))
    except Exception as error:
        if not getattr(error, "is_user_error", False):
            raise
        _fail(str(error), getattr(error, "exit_code", 1))


def _missing(error: ModuleNotFoundError) -> str:
    """What to install; an extra only where the module belongs to it."""
    for extra, modules in EXTRAS.items():
        if (error.name or "").split(".")[0] in modules:
            return f"this command needs {error.name}; install it with: pip install 'polserve[{extra}]'"
    return missing_package(error)


def _fail(message: str, exit_code: int = 1) -> None:
    Console(stderr=True, soft_wrap=True).print(f"error: {message}", style="red", markup=False, highlight=False)
    sys.exit(exit_code)


def _commands() -> dict[str, EntryPoint]:
    """The commands whose package is installed, by name."""
    return {
        entry.name: entry
        for entry in entry_points(group=GROUP)
        if importlib.util.find_spec(".".join(entry.module.split(".")[:2])) is not None
    }


if __name__ == "__main__":
    main()
