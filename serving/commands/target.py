"""The options that say where the service is, and how long to wait for it."""

import math
from typing import Annotated

import typer

from polserve.protos.shared.calls import DEFAULT_TARGET

__all__ = ["DEFAULT_TARGET", "DEFAULT_WAIT_S", "Target", "Wait", "finite", "require_service"]


def finite(number: float | None) -> float | None:
    """Refuse inf and nan, for which nothing can wait."""
    if number is not None and not math.isfinite(number):
        raise typer.BadParameter(f"expected a finite number, got {number}")
    return number


def _check(target: str) -> str:
    """Complete the address of a service; refuse what is none."""
    from polserve.serving.client.target import full_target

    try:
        return full_target(target)
    except ValueError as error:
        raise typer.BadParameter(str(error).removeprefix("target: ")) from error


Target = Annotated[
    str,
    typer.Option(help="Address of the service, as host:port or unix:PATH.", envvar="POLSERVE_TARGET", callback=_check),
]
Wait = Annotated[
    float,
    typer.Option(
        help="Seconds to wait for a service that is still starting.", envvar="POLSERVE_WAIT_S", min=0, callback=finite
    ),
]
DEFAULT_WAIT_S = 10.0


def require_service(target: str, wait_s: float) -> None:
    """Return once a service is there, and ready if that does not take longer than `wait_s`.

    What is not live then, the service's answer to the call itself tells best.

    Raises:
        NoService: none is there.
    """
    from polserve.serving.commands.waiting import wait_until_ready
    from polserve.serving.errors import NoService

    state = wait_until_ready(target, wait_s)
    if not state.is_there:
        raise NoService(target, state.reason, state.waited_s)
