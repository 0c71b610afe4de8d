"""The parent's end: starts a child process, tells it things, and hears what it says."""

import contextlib
import os
import queue
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from typing import IO

from polserve.serving.logs import Log
from polserve.serving.processes.adopted import OWN
from polserve.serving.processes.encoding import BEAT, NOTICE, REFUSAL, Message, decode, encode

START_TIMEOUT_S = 30.0
"""Seconds for a process to start, import what it needs and read its configuration."""
MAX_SILENCE_S = 10.0
"""Seconds without a sign of life after which a process is killed, unless a setting says otherwise."""
LOOK_S = 0.5
"""Seconds between two looks for one."""
CHUNK_BYTES = 2**16

log = Log()


class ChildLost(Exception):
    """The process ended, or did not answer in time and was ended."""

    def __init__(self, message: str, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        """Exit code of one that its parent did not kill, negative where a signal ended it; None of any other."""


class ChildSilent(ChildLost):
    """The process did not answer in time and was ended."""


class ChildRefused(Exception):
    """The process did not do what it was asked, and says why."""


class ChildProcess:
    """A Python module that runs as a program and speaks JSON lines over its standard input and output."""

    def __init__(
        self,
        name: str,
        module: str,
        *,
        environment: Mapping[str, str] | None = None,
        fds: tuple[int, ...] = (),
        max_silence_s: float = MAX_SILENCE_S,
    ) -> None:
        """Start it; it waits for its configuration.

        Args:
            name: what it is called in errors and in the log.
            module: the program that it runs.
            environment: changes to its environment.
            fds: file descriptors that it inherits.
            max_silence_s: seconds without a sign of life after which it is killed, such as where it was stopped.

        Raises:
            OSError: the system has no room for another process.
        """
        with OWN:
            self._process = subprocess.Popen(  # noqa: S603 - a module of our own
                [sys.executable, "-P", "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=fds,
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # Ctrl-C is for its parent
            )
            self.pid = self._process.pid
            OWN.pids.add(self.pid)
        self._name = f"{name} process {self.pid}"
        self._max_silence_s = max_silence_s
        self.was_silent = False
        """Whether it was killed because it gave no sign of life."""
        self.on_notice: Callable[[Message], None] = lambda _notice: None
        """Called with what the process says without having been asked."""
        self._received: queue.Queue[Message | None] = queue.Queue()
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        try:
            threading.Thread(target=self._read, name=f"child-{self.pid}", daemon=True).start()
        except RuntimeError as error:  # Python's way to say that the system has no room for another thread
            self.kill()
            raise OSError(f"no thread can be started: {error}") from error

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def configure(self, config: Message, timeout_s: float | None = START_TIMEOUT_S) -> None:
        """Send the configuration, and wait until the process is ready.

        It is no argument of the program: every user of the machine can read those.

        Raises:
            ChildLost: the process did not come up.
        """
        self.send(config)
        self.wait_until_ready(timeout_s)

    def wait_until_ready(self, timeout_s: float | None = START_TIMEOUT_S) -> None:
        """Wait until the process has read the configuration that it was sent, and is ready.

        Raises:
            ChildLost: the process did not come up.
        """
        with self._lock:
            self.receive(timeout_s)

    def ask(self, message: Message, timeout_s: float) -> Message:
        """Send a request and return the reply; requests of several threads are answered one after another.

        Raises:
            ChildLost: there is none, and the process is gone.
            ChildRefused: the reply is a refusal.
        """
        with self._lock:
            self.send(message)
            reply = self.receive(timeout_s)
        if REFUSAL in reply:
            raise ChildRefused(reply[REFUSAL])
        return reply

    def send(self, message: Message) -> None:
        """Send a message that is not replied to.

        Raises:
            ChildLost: the process is gone.
        """
        try:
            if self._process.stdin is not None:
                with self._writing:
                    self._process.stdin.write(encode(message).encode())
                    self._process.stdin.flush()
        except (OSError, ValueError) as error:
            raise self._lost() from error

    def receive(self, timeout_s: float | None = None) -> Message:
        """Wait for what the child says next; without a timeout, as long as it lives.

        Raises:
            ChildLost: it ended, or said nothing in time and was killed.
        """
        try:
            message = self._received.get(timeout=timeout_s)
        except queue.Empty:
            self.kill()
            raise ChildSilent(f"{self._name} did not answer within {timeout_s:g} s") from None
        if message is None:
            self._received.put(None)  # for whoever asks again
            raise self._lost()
        return message

    def terminate(self) -> None:
        """Tell the process to end, whatever it is doing."""
        self._process.terminate()

    def finish(self, timeout_s: float) -> int:
        """Let the process handle what it was told and end; kill it after the timeout. Return its exit code."""
        self._close_input()
        return self.wait(timeout_s)

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait until the process has ended, and kill it after the timeout; return its exit code."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """Kill the process; return its exit code."""
        self._process.kill()
        code = self._process.wait()
        self._close_input()
        return code

    def _close_input(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # it is gone, and what was not sent yet is of no use
            if self._process.stdin is not None:
                self._process.stdin.close()

    def _lost(self) -> ChildLost:
        """Return the error that says how the process ended."""
        return ChildLost(self.how_it_ended(), None if self.was_silent else self._process.returncode)

    def how_it_ended(self) -> str:
        """Return a sentence that says how the process ended, or that it has only closed its output."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        code = self._process.returncode
        if self.was_silent:
            return f"{self._name} gave no sign of life for {self._max_silence_s:g} s and was killed"
        if code is None:
            return f"{self._name} has closed its output"
        signalled = f"by signal {-code}{_named(-code)}"
        how = signalled if code < 0 else f"with exit code {code}; the service's log may say why"
        return f"{self._name} has ended {how}"

    def _read(self) -> None:
        """Take what the process says until it ends."""
        if self._process.stdout is not None:
            with self._process.stdout as output:
                self._listen(output)
        self._received.put(None)
        self._process.wait()  # nobody else may ask for the exit code of one that ended by itself
        OWN.pids.discard(self.pid)
        self._close_input()

    def _listen(self, output: IO[bytes]) -> None:
        """Queue each message, and kill the process when it gives no sign of life for too long.

        NOTE: looks are counted, not seconds by the clock. Where the whole machine or container was frozen, this process
        may be the first to go on, and the clock would condemn children that had no chance to say anything.
        """
        waiting = select.poll()  # NOTE: select.select takes no descriptor above 1023
        waiting.register(output, select.POLLIN)
        unread, n_silent, limit_s = b"", 0, max(START_TIMEOUT_S, self._max_silence_s)
        while True:
            if not waiting.poll(LOOK_S * 1000):
                n_silent += 1
                if n_silent * LOOK_S >= limit_s and not self.was_silent:
                    self.was_silent = True
                    log.error("child_silent", child=self._name, silent_s=n_silent * LOOK_S)
                    self._process.kill()
                continue
            chunk = os.read(output.fileno(), CHUNK_BYTES)
            if not chunk:  # a process that was killed may leave half a line
                return
            n_silent, limit_s = 0, self._max_silence_s
            *lines, unread = (unread + chunk).split(b"\n")
            try:
                messages = [decode(line) for line in lines]
            except ValueError:
                log.exception("child_unintelligible", child=self._name)
                self._process.kill()
                return
            for message in messages:
                if NOTICE in message:
                    self.on_notice(message[NOTICE])
                elif BEAT not in message:
                    self._received.put(message)


def _named(number: int) -> str:
    """Return a signal's name in parentheses; empty where it has none, as those for programs' own use."""
    return next((f" ({known.name})" for known in signal.Signals if known == number), "")
