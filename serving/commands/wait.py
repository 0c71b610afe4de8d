"""`polserve wait`."""

from typing import Annotated

import typer

from polserve.serving.commands.target import DEFAULT_TARGET, Target


def wait(
    policy: Annotated[str, typer.Argument(help="A policy that must be live. [all that the service is to have]")] = "",
    *,
    timeout: Annotated[float, typer.Option(help="Seconds after which the exit code is 1.", min=0)] = 60.0,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Wait until the service is ready, for scripts.

    The exit code is 0 once it is, and 1 when the time is up.
    """
    from polserve.serving.commands.waiting import wait_until_ready
    from polserve.serving.errors import NoService

    state = wait_until_ready(target, timeout, policy, is_patient=True)
    if state.reason:
        raise NoService(target, state.reason, state.waited_s, is_there=state.is_there)
