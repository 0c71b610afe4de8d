"""`polserve` and `python -m polserve`: the command line."""

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType


def main() -> None:
    """Run the command line; where one of its imports fails, say why in one line."""
    try:
        from polserve.protos.shared.usage_reports import report_to_nobody

        report_to_nobody()
        run = _program(sys.argv[1:])
    except (ImportError, AttributeError) as error:
        from polserve.protos.shared.imports import why_import_failed

        reason = why_import_failed(error)
        if reason is None:
            raise
        sys.exit(f"error: {reason}")
    run()


def _program(arguments: list[str]) -> Callable[[], None]:
    """Import what the arguments call for; the service, whose start somebody waits for, needs little of it."""
    if arguments[:1] == ["serve"]:
        signal.signal(signal.SIGTERM, _end_at_once)
        from polserve.serving.commands.flags import read_flags

        given = read_flags(arguments[1:])
        if given is not None:
            from polserve.serving.commands.launching import launch
            from polserve.serving.failures import end_well

            return lambda: end_well(lambda: launch(given))
    from polserve.serving.cli import main

    return main


def _end_at_once(_number: int, _frame: FrameType | None) -> None:
    """End a service that is only starting, and has no call to finish.

    NOTE: the first process of a container gets no signal for which it has no handler: it would start, and go on until
    it is killed.
    """
    os._exit(0)


if __name__ == "__main__":
    main()
