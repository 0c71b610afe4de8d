"""Processes that call a service at a steady rate, and keep when each call began, how long it took and what it was told.

Run as a program by `calling`: `python -m benchmarks.callers TARGET POLICY SIZE RATE`, until its standard input ends.
"""

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.load import ROOT
from polserve.serving.client import ClientError, PolicyClient

THREADS = 2
"""Threads of each process, each with a connection of its own."""


@dataclass
class Calls:
    """What became of the calls."""

    began_s: list[float] = field(default_factory=list)
    """Start of each call by the monotonic clock, which all processes of a machine share."""
    took_s: list[float] = field(default_factory=list)
    version: list[str] = field(default_factory=list)
    """Version that each answer names; empty where the call failed."""
    action: list[int] = field(default_factory=list)

    def add(self, other: "Calls") -> None:
        """Take in what another process or thread has seen."""
        for name in ("began_s", "took_s", "version", "action"):
            getattr(self, name).extend(getattr(other, name))


@contextlib.contextmanager
def calling(target: str, policy: str, size: int, *, processes: int, rate: float) -> Iterator[Calls]:
    """`rate` calls a second with observations of zeros (size,) until the block is left; then the value is filled."""
    command = [sys.executable, "-m", "benchmarks.callers", target, policy, str(size), str(rate / processes)]
    callers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)  # noqa: S603
        for _ in range(processes)
    ]
    calls = Calls()
    for caller in callers:
        _read(caller)  # that it has begun
    try:
        yield calls
    finally:
        for caller in callers:
            if caller.stdin is not None:
                caller.stdin.close()
        for caller in callers:
            calls.add(Calls(**_read(caller)))
            caller.wait()


def _read(caller: "subprocess.Popen[str]") -> dict[str, Any]:
    if caller.stdout is None:
        raise RuntimeError("the caller has no output")
    return dict(json.loads(caller.stdout.readline()))


class Caller(threading.Thread):
    """Calls until it is told to stop, on a connection of its own."""

    def __init__(self, target: str, policy: str, size: int, rate: float) -> None:
        super().__init__()
        self.calls = Calls()
        self.stopped = threading.Event()
        self._target, self._policy, self._rate = target, policy, rate
        self._observation = np.zeros(size, np.float32)

    def run(self) -> None:
        """Call when it is due; what is late is not made up for."""
        # Without retries, so that every failure is seen.
        with PolicyClient(self._target, timeout_s=5.0, options={"grpc.enable_retries": 0}) as client:
            client.act(self._policy, self._observation)
            due = time.monotonic()
            while not self.stopped.is_set():
                due = max(due + 1 / self._rate, time.monotonic())
                time.sleep(max(0.0, due - time.monotonic()))
                self._call(client)

    def _call(self, client: PolicyClient) -> None:
        began = time.monotonic()
        try:
            answer = client.act(self._policy, self._observation)
            version, action = answer.version, int(answer.action)
        except ClientError:
            version, action = "", -1
        self.calls.began_s.append(began)
        self.calls.took_s.append(time.monotonic() - began)
        self.calls.version.append(version)
        self.calls.action.append(action)


def main() -> None:
    """Call from several threads until standard input ends, then print what was seen."""
    target, policy, size, rate = sys.argv[1:]
    callers = [Caller(target, policy, int(size), float(rate) / THREADS) for _ in range(THREADS)]
    for caller in callers:
        caller.start()
    print("{}", flush=True)
    sys.stdin.read()
    seen = Calls()
    for caller in callers:
        caller.stopped.set()
        caller.join()
        seen.add(caller.calls)
    print(json.dumps(vars(seen)), flush=True)


if __name__ == "__main__":
    main()
