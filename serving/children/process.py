"""This side of a child process."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping

from polserve.serving.children.messages import Message, encode

START_TIMEOUT_S = 30.0


class ChildLost(Exception):
    """The process ended, or did not answer in time and was ended."""


class ChildProcess:
    """A Python module run as a program; its requests are answered one after another."""

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
        self._replies: queue.Queue[Message | None] = queue.Queue()
        self._lock = threading.Lock()
        threading.Thread(target=self._read, name=f"child-{self.pid}", daemon=True).start()

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def configure(self, config: Message) -> None:
        """Wait until it does what it is told.

        Raises:
            ChildLost: it did not get so far.
        """
        with self._lock:
            self._write(config)
            self._reply(START_TIMEOUT_S)

    def ask(self, message: Message, timeout_s: float) -> Message:
        """The reply.

        Raises:
            ChildLost: there is none, and the process is gone.
        """
        with self._lock:
            self._write(message)
            return self._reply(timeout_s)

    def end(self) -> None:
        """Tell it to end, whatever it is doing."""
        self._process.terminate()

    def wait(self, timeout_s: float | None = None) -> int:
        """The exit code, once it has ended; after the timeout it is killed."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """The exit code; the process is gone."""
        self._process.kill()
        code = self._process.wait()
        with contextlib.suppress(OSError):  # what was not sent yet is of no use
            if self._process.stdin is not None:
                self._process.stdin.close()
        return code

    def _write(self, message: Message) -> None:
        try:
            if self._process.stdin is not None:
                self._process.stdin.write(encode(message))
                self._process.stdin.flush()
        except (OSError, ValueError) as error:
            raise ChildLost(self._ended()) from error

    def _reply(self, timeout_s: float) -> Message:
        try:
            reply = self._replies.get(timeout=timeout_s)
        except queue.Empty:
            self.kill()
            raise ChildLost(f"{self._name} did not answer within {timeout_s:g} s") from None
        if reply is None:
            raise ChildLost(self._ended())
        return reply

    def _ended(self) -> str:
        """That the process has ended, and how."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        code = self._process.returncode
        if code is None:
            return f"{self._name} has closed its output"
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}; the service's log may say why"
        return f"{self._name} has ended {how}"

    def _read(self) -> None:
        if self._process.stdout is not None:
            # One that was killed may leave half a line.
            with self._process.stdout as lines, contextlib.suppress(ValueError):
                for line in lines:
                    self._replies.put(json.loads(line))
        self._replies.put(None)
        self._process.wait()  # nobody else may ask for the exit code of one that ended by itself
