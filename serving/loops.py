"""The loop that answers calls."""

import asyncio
from typing import Any

from polserve.serving.logs import Log

log = Log()


def make_loop() -> asyncio.AbstractEventLoop:
    """Make a loop of uvloop where that is installed, else of asyncio; it logs what fails in it."""
    try:
        import uvloop
    except ImportError:
        loop = asyncio.new_event_loop()
    else:
        loop = uvloop.new_event_loop()
    loop.set_exception_handler(_log_failure)
    return loop


def _log_failure(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    raised = context.get("exception")
    if raised is None:
        log.error("loop_failed", message=context.get("message"))
    else:
        log.failure("loop_failed", raised, message=context.get("message"))
