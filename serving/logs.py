"""Logs: one line an event, `key=value` fields, on standard error."""

import sys
import time
import traceback
from datetime import UTC, datetime

INTERVAL_S = 1.0
"""Seconds between two lines of one event that strangers can cause as often as they like."""

_common: dict[str, object] = {}
_n_unwritten = 0
"""Lines that could not be written when they were due, since the last one that was."""


def log_always(**fields: object) -> None:
    """Add these fields to each event that this process logs from now on."""
    _common.update(fields)


class Log:
    """Writes events; a line is the moment, the level, the name of the event and its fields, in logfmt.

    Not structlog: it imports rich and asyncio, which was a third of what it took the validator to start.
    """

    def info(self, event: str, **fields: object) -> None:
        """Log what belongs to the normal course of things."""
        _write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Log what somebody may have to look at."""
        _write("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Log what went wrong, and is understood."""
        _write("error", event, fields)

    def exception(self, event: str, **fields: object) -> None:
        """Log what went wrong, with the traceback of the exception that is being handled."""
        _write("error", event, {**fields, "exception": traceback.format_exc().rstrip("\n")})

    def failure(self, event: str, raised: BaseException, **fields: object) -> None:
        """Log what went wrong, with the traceback of an exception that may have been raised long ago."""
        text = "".join(traceback.format_exception(raised))
        _write("error", event, {**fields, "exception": text.rstrip("\n")})


class SparseLog:
    """An event that is logged at most once in a while; the next line says how many were left out."""

    def __init__(self, event: str) -> None:
        self._event = event
        self._log = Log()
        self._next_at = 0.0
        self._n_left_out = 0

    def write(self, **fields: object) -> None:
        """Log the event, or count it where one was logged just now."""
        now = time.monotonic()
        if now < self._next_at:
            self._n_left_out += 1
            return
        if self._n_left_out:
            fields["left_out"] = self._n_left_out
        self._next_at, self._n_left_out = now + INTERVAL_S, 0
        self._log.info(self._event, **fields)


def _write(level: str, event: str, fields: dict[str, object]) -> None:
    """Write one event; the whole line at once, as threads and processes share the output."""
    global _n_unwritten  # noqa: PLW0603 - standard error is one, too
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    before = {"late_or_lost": _n_unwritten} if _n_unwritten else {}
    line = {"timestamp": now, "level": level, "event": event, **fields, **_common, **before}
    try:
        sys.stderr.write(" ".join(f"{name}={_logfmt(value)}" for name, value in line.items()) + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):  # a full disk, a reader that has gone, a closed file: none may end a call or a thread
        _n_unwritten += 1
    else:
        _n_unwritten = 0


def _logfmt(value: object) -> str:
    """Write a value so that it ends where the next field begins, and stays on its line."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
    text = str(value)
    is_quoted = any(mark in text for mark in ' ="') or not text.isprintable()
    if not is_quoted:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(_escapes(mark) for mark in escaped) + '"'


def _escapes(mark: str) -> str:
    """Write a character that is not printable as Python escapes it: a log holds no control characters of strangers."""
    return mark if mark.isprintable() else mark.encode("unicode_escape").decode()
