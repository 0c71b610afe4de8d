"""The options that say where the service is, and how long it is waited for."""

from typing import Annotated

import typer


def _check(target: str) -> str:
    from polserve.serving.client.target import full_target

    try:
        return full_target(target)
    except ValueError as error:
        raise typer.BadParameter(str(error).removeprefix("target: ")) from error


Target = Annotated[
    str, typer.Option(help="Address of the service, host:port.", envvar="POLSERVE_TARGET", callback=_check)
]
DEFAULT_TARGET = "localhost:50051"
Wait = Annotated[
    float, typer.Option(help="Seconds that a service which is starting is waited for.", envvar="POLSERVE_WAIT_S", min=0)
]
DEFAULT_WAIT_S = 10.0


def require_service(target: str, wait_s: float) -> None:
    """Return once the service is there, and ready if that does not take longer than `wait_s`.

    Raises:
        NoService: none is there.
    """
    from polserve.serving.commands.waiting import require_service as require

    require(target, wait_s)
