"""Logs: one line an event, `key=value` fields, on standard error."""

import sys
import time

import structlog

INTERVAL_S = 1.0
"""Seconds between two lines of one event that strangers can cause as often as they like."""


def configure_logs() -> None:
    """Send every event to standard error as logfmt."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


class SparseLog:
    """An event that is logged at most once in a while; the next line says how many were left out."""

    def __init__(self, event: str) -> None:
        self._event = event
        self._log = structlog.get_logger()
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
