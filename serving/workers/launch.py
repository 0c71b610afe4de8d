"""How a worker process is started: what it inherits, and what it is told."""

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polserve.serving.inference.run_marks import RunMarks
from polserve.serving.processes.parent import ChildProcess
from polserve.serving.settings.settings import Settings
from polserve.serving.workers.connections import ConnectionCounts
from polserve.serving.workers.epoch import SharedEpoch


@dataclass(frozen=True, slots=True)
class Shared:
    """What all workers of a service share."""

    settings: Settings
    port: socket.socket
    """Bound to the gRPC port."""
    socket: socket.socket | None
    """Likewise to the UNIX socket; None for none."""
    epoch: SharedEpoch
    connections: ConnectionCounts
    marks: RunMarks
    metrics_folder: Path
    grace_s: float
    """Seconds that each has at its end to finish what is in flight."""

    def start(self, calls_fd: int) -> ChildProcess:
        """Start a worker, which inherits what is shared and `calls_fd`; it waits for its configuration.

        Raises:
            OSError: the system has no room for another process.
        """
        sockets = [self.port] if self.socket is None else [self.port, self.socket]
        return ChildProcess(
            "worker",
            "polserve.serving.workers.worker_process",
            environment={"PROMETHEUS_MULTIPROC_DIR": str(self.metrics_folder)},
            fds=(*(shared.fileno() for shared in sockets), self.epoch.fd, self.connections.fd, self.marks.fd, calls_fd),
            max_silence_s=self.settings.max_silence,
        )

    def config(self, index: int, calls_fd: int) -> dict[str, Any]:
        """Return the configuration of a worker, which takes the supervisor's calls from `calls_fd`."""
        return {
            "settings": self.settings.to_message(),
            "index": index,
            "n": self.settings.workers,
            "host": self.settings.host,
            "port": self.port.getsockname()[1],
            "port_fd": self.port.fileno(),
            "socket_fd": None if self.socket is None else self.socket.fileno(),
            "epoch_fd": self.epoch.fd,
            "counts_fd": self.connections.fd,
            "marks_fd": self.marks.fd,
            "calls_fd": calls_fd,
            "grace_s": self.grace_s,
        }
