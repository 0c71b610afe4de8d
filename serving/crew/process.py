"""The supervisor's end of one worker process."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path

from serving.crew.messages import Message, encode

START_TIMEOUT_S = 30.0


class WorkerLost(Exception):
    """The process ended, or did not answer in time and was ended."""


class WorkerProcess:
    """A child that answers calls; its requests are answered one after another."""

    def __init__(self, metrics_folder: Path, epoch_fd: int) -> None:
        """Start it; it waits for its configuration."""
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "serving.crew.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=(epoch_fd,),
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(metrics_folder)},
            start_new_session=True,  # Ctrl-C is for the supervisor
        )
        self.pid = self._process.pid
        self._replies: queue.Queue[Message | None] = queue.Queue()
        self._lock = threading.Lock()
        threading.Thread(target=self._read, name=f"worker-{self.pid}", daemon=True).start()

    def configure(self, config: Message) -> None:
        """Wait until it does what it is told.

        Raises:
            WorkerLost: it did not get so far.
        """
        with self._lock:
            self._write(config)
            self._reply(START_TIMEOUT_S)

    def ask(self, message: Message, timeout_s: float) -> Message:
        """The reply.

        Raises:
            WorkerLost: there is none, and the process is gone.
        """
        with self._lock:
            self._write(message)
            return self._reply(timeout_s)

    def end(self) -> None:
        """Tell it to drain and end, whatever it is doing."""
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
        return self._process.wait()

    def _write(self, message: Message) -> None:
        try:
            if self._process.stdin is not None:
                self._process.stdin.write(encode(message))
                self._process.stdin.flush()
        except (OSError, ValueError) as error:
            raise WorkerLost(f"worker process {self.pid} has ended") from error

    def _reply(self, timeout_s: float) -> Message:
        try:
            reply = self._replies.get(timeout=timeout_s)
        except queue.Empty:
            self.kill()
            raise WorkerLost(f"worker process {self.pid} did not answer within {timeout_s:g} s") from None
        if reply is None:
            raise WorkerLost(f"worker process {self.pid} has ended")
        return reply

    def _read(self) -> None:
        with contextlib.suppress(ValueError):  # half a line, from one that was killed
            for line in self._process.stdout or ():
                self._replies.put(json.loads(line))
        self._replies.put(None)
