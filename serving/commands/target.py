"""The option that says where the service is."""

from typing import Annotated

import typer


def _check(target: str) -> str:
    if "//" in target or not target.rpartition(":")[2].isdecimal():
        raise typer.BadParameter(f"expected host:port such as 'localhost:50051', got {target!r}")
    return target


Target = Annotated[
    str, typer.Option(help="Address of the service, host:port.", envvar="POLSERVE_TARGET", callback=_check)
]
DEFAULT_TARGET = "localhost:50051"
