"""How the `polserve` program ends: what a user can cause is one line on standard error, and never a traceback."""

import os
import sys
from collections.abc import Callable


def end_well(run: Callable[[], object]) -> None:
    """Run a command; exit with 2 for bad usage, 1 for failure and 130 after Ctrl-C, and say in one line why."""
    try:
        run()
    except KeyboardInterrupt:
        sys.exit(130)
    except (ImportError, AttributeError) as error:
        from polserve.protos.shared.imports import why_import_failed  # which takes its time

        reason = why_import_failed(error)
        if reason is None:
            raise
        _fail(reason)
    except Exception as error:
        if not getattr(error, "is_user_error", False):
            raise
        _fail(str(error), getattr(error, "exit_code", 1))


def _fail(message: str, exit_code: int = 1) -> None:
    is_plain = not sys.stderr.isatty() or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    sys.stderr.write(f"error: {message}\n" if is_plain else f"\033[31merror: {message}\033[0m\n")
    sys.exit(exit_code)
