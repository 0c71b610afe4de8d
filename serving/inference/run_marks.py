"""Which version each worker runs now, in memory that outlives it: so that a crash is known to be that version's."""

import json
import mmap
import os
import signal
from typing import TYPE_CHECKING

from polserve.serving.versions import Runaway

if TYPE_CHECKING:  # the supervisor, which reads the marks, has no use for ONNX Runtime
    from polserve.serving.policy import Policy

N_SLOTS = 2
"""Threads of a worker that run models."""
SLOT_BYTES = 1024
_RUNNING, _IDLE = 1, 0
CRASHES = {-number for number in (signal.SIGSEGV, signal.SIGFPE, signal.SIGBUS, signal.SIGILL, signal.SIGABRT)}
"""Exit codes of workers that ended by what they did; nobody else sends these signals."""


class RunMark:
    """The place of one thread, which it writes to before and after each run."""

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        self._written = ""
        """Checksum of the version that the place names; the very string of its policy."""

    def set(self, policy: "Policy") -> None:
        """Note that a run of this version begins."""
        if policy.sha256 is not self._written:
            text = json.dumps([policy.name, policy.version, policy.sha256]).encode()[: SLOT_BYTES - 3]
            self._memory[1 : 3 + len(text)] = len(text).to_bytes(2, "little") + text
            self._written = policy.sha256
        self._memory[0] = _RUNNING

    def clear(self) -> None:
        """Note that the run has ended."""
        self._memory[0] = _IDLE


class RunMarks:
    """The places of n workers; without a file descriptor, in memory that is made for them."""

    def __init__(self, n: int, fd: int | None = None) -> None:
        """Share the memory behind a file descriptor, or make it."""
        self.fd = os.memfd_create("polserve-runs", 0) if fd is None else fd
        size = -(-n * N_SLOTS * SLOT_BYTES // mmap.PAGESIZE) * mmap.PAGESIZE
        if fd is None:
            os.ftruncate(self.fd, size)
        self._memory = memoryview(mmap.mmap(self.fd, size))

    def of(self, worker: int) -> list[RunMark]:
        """Return the places of a worker's threads."""
        return [RunMark(place) for place in self._places(worker)]

    def crashed(self, worker: int, exit_code: int) -> list[Runaway]:
        """Return the runs that crashed a worker, which has ended, and make its places free for the next."""
        ran = self.take(worker)
        if exit_code not in CRASHES:
            return []
        reason = f"a run ended its worker by {signal.Signals(-exit_code).name}"
        return [Runaway(*version, reason) for version in ran]

    def take(self, worker: int) -> list[tuple[str, str, str]]:
        """Return policy, version and checksum of what a worker was running, and make its places free."""
        found: list[tuple[str, str, str]] = []
        for place in self._places(worker):
            if place[0] == _RUNNING:
                length = int.from_bytes(place[1:3], "little")
                try:
                    policy, version, sha256 = json.loads(bytes(place[3 : 3 + length]))
                    found.append((policy, version, sha256))
                except ValueError:  # it ended as it wrote this
                    pass
            place[0] = _IDLE
        return found

    def _places(self, worker: int) -> list[memoryview]:
        first = worker * N_SLOTS
        return [self._memory[i * SLOT_BYTES : (i + 1) * SLOT_BYTES] for i in range(first, first + N_SLOTS)]
