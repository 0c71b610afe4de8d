"""The audit log: who was denied what, and which versions came, went or were refused, as one JSON object a line.

Whoever writes never waits: lines go through a queue to a thread. Processes may share a file, since each line is written
at once to its end.
"""

import json
import os
import sys
import threading
import time
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from polserve.serving.errors import ConfigurationError
from polserve.serving.logs import SparseLog

STANDARD_ERROR = "stderr"
MOST_WAITING = 10_000
"""Lines that wait to be written, at most; more are counted and left out."""
MOST_DENIED_PER_S = 200
"""Lines a second about calls that were denied, which strangers can cause as often as they like."""
FLUSH_S = 2.0
"""Time at the end of the process for what still waits."""
RETRY_S = 1.0
"""Pause after a line that could not be written."""
MODE = 0o640


class Audit(Protocol):
    """What takes note of what an auditor asks about."""

    def __call__(self, event: str, **fields: object) -> None:
        """Take note of an event."""


def no_audit(event: str, **fields: object) -> None:
    """Take note of nothing."""


def open_audit(place: str | None, setting: str = "audit-log") -> "AuditLog | None":
    """Open the audit log at a file or on standard error; None where there is to be none.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    return None if place is None else AuditLog(place, setting)


class AuditLog:
    """The audit log of one process."""

    def __init__(self, place: str, setting: str) -> None:
        """Open the file; raises ConfigurationError."""
        self._path = None if place == STANDARD_ERROR else Path(place)
        self._file: int | None = None
        self._waiting = deque[str]()
        self._is_wanted = threading.Condition()
        self._is_closing = False
        self._n_left_out = 0
        self._is_whole = True
        """Whether the file ends with a whole line, as far as this process has written it."""
        self._denied = (0, 0)
        """A second, and the denied calls that were written in it."""
        self._failures = SparseLog("audit_not_written")
        try:
            self._open()
        except OSError as error:
            expected = "a file that can be written, or stderr"
            raise ConfigurationError(f"{setting}: expected {expected}, got {place} ({error.strerror})") from error
        self._writer = threading.Thread(target=self._write_all, name="audit", daemon=True)
        self._writer.start()

    def __call__(self, event: str, **fields: object) -> None:
        """Take note of an event, now; for any thread."""
        with self._is_wanted:
            if len(self._waiting) >= MOST_WAITING or (event == "call_denied" and self._are_too_many()):
                self._n_left_out += 1
                return
            if self._n_left_out:
                fields["left_out"] = self._n_left_out
                self._n_left_out = 0
            self._put(event, fields)
            self._is_wanted.notify()

    def close(self) -> None:
        """Write what waits, for a while, and end."""
        with self._is_wanted:
            if self._n_left_out:
                self._put("lines_left_out", {"left_out": self._n_left_out})
            self._is_closing = True
            self._is_wanted.notify()
        self._writer.join(FLUSH_S)

    def _put(self, event: str, fields: dict[str, object]) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._waiting.append(json.dumps({"time": at, "event": event, **fields, "pid": os.getpid()}) + "\n")

    def _are_too_many(self) -> bool:
        """Whether as many denied calls were written in this second as may be."""
        second = int(time.monotonic())
        n = self._denied[1] + 1 if self._denied[0] == second else 1
        self._denied = (second, n)
        return n > MOST_DENIED_PER_S

    def _write_all(self) -> None:
        """Write lines as they come, on a thread of its own."""
        while True:
            with self._is_wanted:
                while not self._waiting and not self._is_closing:
                    self._is_wanted.wait()
                if not self._waiting:
                    return
                line = self._waiting[0]
            try:
                self._write(line)
            except OSError as error:  # such as a full disk: the line is kept for better times
                self._failures.write(file=str(self._path or STANDARD_ERROR), error=str(error))
                if self._is_closing:
                    return
                time.sleep(RETRY_S)
            else:
                self._waiting.popleft()

    def _write(self, line: str) -> None:
        """Write a line at once, into a new file where the one before was moved away."""
        if self._path is None:
            sys.stderr.write(line)
            sys.stderr.flush()
            return
        if self._file is not None and not self._is_in_place(self._file, self._path):
            os.close(self._file)
            self._file, self._is_whole = None, True
        if self._file is None:
            self._open()
        # What a disk that was full took of a line before stays a line of its own.
        data = line.encode() if self._is_whole else b"\n" + line.encode()
        while self._file is not None and data:
            self._is_whole = False
            data = data[os.write(self._file, data) :]
        self._is_whole = True

    def _open(self) -> None:
        if self._path is not None:
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)

    @staticmethod
    def _is_in_place(file: int, path: Path) -> bool:
        """Whether an open file is the one at the path."""
        try:
            here = path.stat()
        except FileNotFoundError:
            return False
        opened = os.fstat(file)
        return (here.st_dev, here.st_ino) == (opened.st_dev, opened.st_ino)
