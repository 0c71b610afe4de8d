"""`polserve wait`."""

from typing import Annotated

import typer

from polserve.serving.commands.target import DEFAULT_TARGET, Target, finite


def wait(
    policy: Annotated[
        str, typer.Argument(help="Policy that must be live. [default: all that the service is to have]")
    ] = "",
    *,
    timeout: Annotated[
        float, typer.Option(help="Give up after this many seconds, with exit code 1.", min=0, callback=finite)
    ] = 60.0,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Wait until the service is ready, for scripts.

    The exit code is 0 as soon as the service is ready, and 1 if the time is up before.
    """
    from polserve.serving.commands.waiting import wait_until_ready
    from polserve.serving.errors import NoService

    state = wait_until_ready(target, timeout, policy, is_patient=True)
    if state.reason:
        raise NoService(target, state.reason, state.waited_s, is_there=state.is_there)
