"""The parent's end: starts a child process, tells it things, and hears what it says."""

import contextlib
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping

from polserve.serving.processes.encoding import REFUSAL, Message, decode, encode

START_TIMEOUT_S = 30.0
"""Seconds for a process to start, import what it needs and read its configuration."""


class ChildLost(Exception):
    """The process ended, or did not answer in time and was ended."""


class ChildRefused(Exception):
    """The process did not do what it was asked, and says why."""


class ChildProcess:
    """A Python module that runs as a program and speaks JSON lines over its standard input and output."""

    def __init__(
        self, name: str, module: str, *, environment: Mapping[str, str] | None = None, fds: tuple[int, ...] = ()
    ) -> None:
        """Start it, with changes to its environment and file descriptors to inherit; it waits for its configuration."""
        self._process = subprocess.Popen(  # noqa: S603 - a module of our own
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=fds,
            env={**os.environ, **(environment or {})},
            start_new_session=True,  # Ctrl-C is for its parent
        )
        self.pid = self._process.pid
        self._name = f"{name} process {self.pid}"
        self._received: queue.Queue[Message | None] = queue.Queue()
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        threading.Thread(target=self._read, name=f"child-{self.pid}", daemon=True).start()

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
        with self._lock:
            self.send(config)
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
                    self._process.stdin.write(encode(message))
                    self._process.stdin.flush()
        except (OSError, ValueError) as error:
            raise ChildLost(self._how_it_ended()) from error

    def receive(self, timeout_s: float | None = None) -> Message:
        """Wait for what the child says next; without a timeout, as long as it lives.

        Raises:
            ChildLost: it ended, or said nothing in time and was killed.
        """
        try:
            message = self._received.get(timeout=timeout_s)
        except queue.Empty:
            self.kill()
            raise ChildLost(f"{self._name} did not answer within {timeout_s:g} s") from None
        if message is None:
            self._received.put(None)  # for whoever asks again
            raise ChildLost(self._how_it_ended())
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

    def _how_it_ended(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        code = self._process.returncode
        if code is None:
            return f"{self._name} has closed its output"
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}; the service's log may say why"
        return f"{self._name} has ended {how}"

    def _read(self) -> None:
        if self._process.stdout is not None:
            # A process that was killed may leave half a line.
            with self._process.stdout as lines, contextlib.suppress(ValueError):
                for line in lines:
                    self._received.put(decode(line))
        self._received.put(None)
        self._process.wait()  # nobody else may ask for the exit code of one that ended by itself
