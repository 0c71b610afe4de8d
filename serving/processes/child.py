"""The child's end: hears what the parent says, and answers."""

import contextlib
import ctypes
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

from polserve.serving.errors import PolserveError
from polserve.serving.logs import Log
from polserve.serving.processes.encoding import BEAT, NOTICE, REFUSAL, Message, decode, encode

CHUNK_BYTES = 2**16
BEAT_S = 0.5
"""Seconds between two signs of life."""
PR_SET_PDEATHSIG = 1
"""Of <linux/prctl.h>: the signal that a process gets when its parent dies."""
LAST_S = 1.0
"""Seconds that a process has to end by itself once its parent has gone, unless it asks for more."""

log = Log()


class ParentGone(Exception):
    """The parent has ended, or closed its end of the pipe: there is nothing left to do."""


class Parent:
    """The process that started this one, which ends with it."""

    def __init__(self, inbox_fd: int, outbox: TextIO) -> None:
        """Speak with the parent over these two; `of_this_process` gives a child process its own."""
        self._inbox_fd = inbox_fd
        self._outbox = outbox
        self._received = b""
        self._writing = threading.Lock()
        self.pulse: Callable[[], int | None] = lambda: None
        """Gives another number at each look while this process does its work; None where being alive is enough."""
        self.last_s = LAST_S
        """Seconds that this process has to end by itself once its parent has gone."""

    @classmethod
    def of_this_process(cls) -> "Parent":
        """Take over standard input and output; what a library prints goes to standard error, as the logs do."""
        parent = cls(sys.stdin.fileno(), sys.stdout)
        sys.stdout = sys.stderr
        _go_on_when_orphaned()
        threading.Thread(target=parent.beat, name="beat", daemon=True).start()
        return parent

    def beat(self) -> None:
        """Give a sign of life again and again, while the work goes on; end this process when the parent has gone.

        A process that hangs in native code or in a call to the network does not notice by itself that it is an orphan,
        and would keep its memory, its port and its locks.
        """
        before: int | None = None
        try:
            while True:
                time.sleep(BEAT_S)
                now = self.pulse()
                if now is None or now != before:
                    self.send({BEAT: True})
                before = now
        except ParentGone:
            time.sleep(self.last_s)
            os._exit(1)

    def send(self, message: Message) -> None:
        """Tell the parent something.

        Raises:
            ParentGone: nobody listens any more.
        """
        try:
            with self._writing:
                self._outbox.write(encode(message))
                self._outbox.flush()
        except OSError as error:
            raise ParentGone from error

    def give_notice(self, notice: Message) -> None:
        """Tell the parent something that it did not ask for; nothing happens where it has gone."""
        with contextlib.suppress(ParentGone):
            self.send({NOTICE: notice})

    def say_ready(self) -> None:
        """Tell the parent, who waits for it, that this process has read its configuration and takes requests."""
        self.send({"pid": os.getpid()})

    def receive(self, timeout_s: float | None = None) -> Message:
        """Wait for what the parent says next; without a timeout, for ever.

        Raises:
            ParentGone: it will say no more.
            TimeoutError: it has said nothing yet.
        """
        # NOTE: neither a thread nor sys.stdin reads here. A thread that is blocked in sys.stdin when the interpreter
        # ends makes it abort, and select sees nothing of what sys.stdin has read ahead.
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while b"\n" not in self._received:
            left_s = None if until is None else max(0.0, until - time.monotonic())
            if not select.select([self._inbox_fd], [], [], left_s)[0]:
                raise TimeoutError
            chunk = os.read(self._inbox_fd, CHUNK_BYTES)
            if not chunk:
                raise ParentGone
            self._received += chunk
        line, _, self._received = self._received.partition(b"\n")
        return decode(line)

    def serve(self, answer: Callable[[Message], Message], idle_s: float | None = None) -> None:
        """Reply to requests with what `answer` returns for them; an exception that it raises becomes a refusal.

        Return when there was nothing to do for `idle_s` seconds.

        Raises:
            ParentGone: the parent will say no more.
        """
        while True:
            try:
                request = self.receive(idle_s)
            except TimeoutError:
                return
            self.send(_reply(answer, request))


def _go_on_when_orphaned() -> None:
    """Have the kernel let this process go on when its parent dies: one that was stopped could not end."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGCONT)


def _reply(answer: Callable[[Message], Message], request: Message) -> Message:
    try:
        return answer(request)
    except PolserveError as refusal:
        return {REFUSAL: str(refusal)}
    except Exception as error:
        log.exception("request_failed")
        return {REFUSAL: f"unexpected {type(error).__name__}; the service's log has the details"}
