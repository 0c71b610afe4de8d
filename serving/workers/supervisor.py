"""Several worker processes on one port, and the supervisor that starts and replaces them.

The workers share the listening socket, and whoever has the fewest connections takes the next one; with the grpcio front
the kernel chooses (SO_REUSEPORT). A worker that ends is replaced. A switch has two phases: every worker stages the new
state, then the supervisor raises the epoch that all of them share.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.multiprocess import mark_process_dead

from polserve.serving.addresses import bind_file, reserve
from polserve.serving.entrance import Entrance
from polserve.serving.errors import ConfigurationError, RolloutRefused
from polserve.serving.logs import Log
from polserve.serving.metrics.service import WorkerPids, collect_workers
from polserve.serving.processes.encoding import Message, encode_accepted, encode_each
from polserve.serving.processes.parent import ChildLost, ChildProcess, ChildRefused
from polserve.serving.settings import Settings
from polserve.serving.versions import AcceptedVersion, LiveVersions
from polserve.serving.workers.connections import ConnectionCounts
from polserve.serving.workers.epoch import SharedEpoch
from polserve.serving.workers.metrics_folder import MetricsFolder
from polserve.serving.workers.relay import Relay

PREPARE_TIMEOUT_S = 120.0
STAGE_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 5.0
START_S = 10.0
"""Seconds for the first worker to come up."""
RESPAWN_DELAY_S = 0.5
"""Seconds to wait after a worker that ended before it answered calls."""

log = Log()


@dataclass(frozen=True, slots=True)
class Replies:
    """What came of one request to several workers; those that were lost are in neither."""

    n_done: int
    refusals: Mapping[ChildProcess, str]
    """Why a worker did not do it."""


class Supervisor:
    """Starts the worker processes, replaces those that end, and passes on to all of them what goes live."""

    def __init__(self, settings: Settings, registry: CollectorRegistry, grace_s: float) -> None:
        """Reserve the gRPC port; no worker is started yet. Each has `grace_s` at its end to finish what is in flight.

        Raises:
            PortInUse: it cannot be bound.
            ConfigurationError: there is no folder to write metrics to, or the front cannot share a UNIX socket.
        """
        if settings.grpc_socket is not None and settings.front == "grpcio":
            raise ConfigurationError(
                f"grpc-socket: expected --front nghttp2 with {settings.workers} workers, got grpcio, whose processes "
                "cannot share one"
            )
        denied = Counter(
            "polserve_pages_denied", "Requests for pages that were denied.", ("reason",), registry=registry
        )
        self.entrance = Entrance(settings, lambda reason: denied.labels(reason).inc())
        """What lets in those who ask for pages; each worker has an entrance of its own."""
        self._settings = settings
        self._grace_s = grace_s
        self._port = reserve(settings.host, settings.grpc_port)
        self.grpc_port: int = self._port.getsockname()[1]
        self._socket = None if settings.grpc_socket is None else bind_file(settings.grpc_socket)
        self.calls = Relay()
        """What passes calls on to the workers."""
        self._epoch = SharedEpoch()
        self._connections = ConnectionCounts(settings.workers)
        self._metrics = MetricsFolder()
        self._pids = WorkerPids()
        collect_workers(registry, self._metrics.path, self._pids)
        self._lock = threading.RLock()
        self._workers: dict[int, ChildProcess] = {}
        """The workers that answer calls, by index."""
        self._lock_of_processes = threading.Lock()
        self._processes: dict[int, ChildProcess] = {}
        """The workers that are only starting, too."""
        self._live: LiveVersions | None = None
        self._is_ready = False
        self._latest_loss: str | None = None
        """Why the latest worker did not start, or ended."""
        self._is_closing = threading.Event()
        self._pool = ThreadPoolExecutor(settings.workers, thread_name_prefix="supervisor")
        self._keepers = [
            threading.Thread(target=self._keep, args=(index,), name=f"keeper-{index}", daemon=True)
            for index in range(settings.workers)
        ]

    def start(self) -> None:
        """Start the processes, and replace each that ends; one answers when this returns, if it can."""
        for keeper in self._keepers:
            keeper.start()
        until = time.monotonic() + START_S
        while not self._workers and time.monotonic() < until:
            time.sleep(0.02)

    def prepare(self, version: AcceptedVersion) -> None:
        """Have every worker load the version.

        Raises:
            RolloutRefused: one of them cannot, or none lived to load it.
            ChildLost: the service ends.
        """
        message = {"do": "prepare", "version": encode_accepted(version)}
        replies = self._ask_all(self._wait_for_workers(), message, PREPARE_TIMEOUT_S)
        if replies.refusals:
            raise RolloutRefused("; ".join(sorted(set(replies.refusals.values()))))
        if not replies.n_done:
            raise RolloutRefused("every process that was to load it ended")

    def switch(self, live: LiveVersions) -> None:
        """Answer every call that comes from now on by `live`, in every worker."""
        with self._lock:
            epoch = self._epoch.read() + 1
            message = {"do": "stage", "epoch": epoch, "live": encode_each(live, encode_accepted)}
            replies = self._ask_all(self._workers.values(), message, STAGE_TIMEOUT_S)
            for worker, reason in replies.refusals.items():
                log.error("worker_cannot_follow", pid=worker.pid, reason=reason)
                worker.kill()  # another takes its place, and is not let in before it can
            self._live = live
            self._epoch.write(epoch)

    def set_health(self, *, is_ready: bool) -> None:
        """Tell health checkers of every worker whether the service is ready, and what is live."""
        with self._lock:
            self._is_ready = is_ready
            self._ask_all(self._workers.values(), {"do": "health", "is_ready": is_ready}, ANSWER_TIMEOUT_S)

    def state(self) -> Mapping[str, Any]:
        """Return what /readyz says of the workers: how many are up."""
        return {"workers": {"up": len(self._workers), "of": self._settings.workers}}

    def problem(self) -> str | None:
        """Say why calls cannot be answered; None where they can."""
        if self._workers:
            return None
        return "no worker process is up" + (f": {self._latest_loss}" if self._latest_loss else "")

    def drain(self, grace_s: float) -> None:
        """Let every worker finish what is in flight, and end."""
        until = time.monotonic() + grace_s + 1.0
        with self._lock_of_processes:
            self._is_closing.set()
            processes = list(self._processes.values())
        with contextlib.suppress(OSError):  # where nobody listens on it
            self._port.shutdown(socket.SHUT_RDWR)  # else connections would wait for workers that take no more
        self._close_file()
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(max(0.0, until - time.monotonic()))
        for keeper in self._keepers:
            if keeper.is_alive():
                keeper.join(1.0)
        self._port.close()
        self._pool.shutdown(wait=False)
        self.entrance.close()
        self._metrics.remove()

    def _close_file(self) -> None:
        """Take no more connections by the UNIX socket."""
        if self._socket is not None and self._settings.grpc_socket is not None:
            with contextlib.suppress(OSError):  # likewise
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
            self._settings.grpc_socket.unlink(missing_ok=True)

    def _keep(self, index: int) -> None:
        """Keep a worker `index` running, until the service ends."""
        while not self._is_closing.is_set():
            try:
                worker = self._spawn(index)
            except (ChildLost, OSError) as error:  # the latter where no process can be started now
                if self._is_closing.is_set():
                    return
                self._latest_loss = str(error)
                log.error("worker_not_started", worker=index, error=str(error))  # noqa: TRY400 - it says why in one line
                self._is_closing.wait(RESPAWN_DELAY_S)
                continue
            exit_code = worker.wait()
            self._connections.leave(index)
            self.calls.remove(index)
            with self._lock:
                is_up = self._workers.pop(index, None) is not None
                self._pids.by_name.pop(str(index), None)
            if self._is_closing.is_set():
                return
            mark_process_dead(worker.pid, str(self._metrics.path))
            self._latest_loss = f"worker process {worker.pid} ended with exit code {exit_code}"
            log.error("worker_ended", worker=index, pid=worker.pid, exit_code=exit_code)
            if not is_up:
                self._is_closing.wait(RESPAWN_DELAY_S)

    def _spawn(self, index: int) -> ChildProcess:
        ours, theirs = socket.socketpair()
        with theirs:
            return self._spawn_with(index, ours, theirs.fileno())

    def _spawn_with(self, index: int, calls: socket.socket, calls_fd: int) -> ChildProcess:
        """Start a worker that answers what is passed on over a pair of sockets; it inherits the end `calls_fd`."""
        config = {
            "settings": self._settings.model_dump(mode="json"),
            "index": index,
            "n": self._settings.workers,
            "host": self._settings.host,
            "port": self.grpc_port,
            "port_fd": self._port.fileno(),
            "socket_fd": None if self._socket is None else self._socket.fileno(),
            "epoch_fd": self._epoch.fd,
            "counts_fd": self._connections.fd,
            "calls_fd": calls_fd,
            "grace_s": self._grace_s,
        }
        with self._lock_of_processes:
            if self._is_closing.is_set():
                raise ChildLost("the service ends")
            worker = self._processes[index] = self._start_process(calls_fd)
        try:
            worker.configure(config)
            self._admit(index, worker)
            self.calls.add(index, calls)
        except ChildLost:
            if not self._is_closing.is_set():
                worker.kill()
            raise
        return worker

    def _start_process(self, calls_fd: int) -> ChildProcess:
        environment = {"PROMETHEUS_MULTIPROC_DIR": str(self._metrics.path)}
        sockets = [self._port] if self._socket is None else [self._port, self._socket]
        fds = (*(shared.fileno() for shared in sockets), self._epoch.fd, self._connections.fd, calls_fd)
        return ChildProcess("worker", "polserve.serving.workers.worker_process", environment=environment, fds=fds)

    def _admit(self, index: int, worker: ChildProcess) -> None:
        """Let a worker answer calls, with what is live now; what takes long is done without holding up a switch."""
        staged: LiveVersions | None = None
        while True:
            with self._lock:
                if staged is self._live:
                    _must_do(worker, {"do": "start"}, ANSWER_TIMEOUT_S)
                    _must_do(worker, {"do": "health", "is_ready": self._is_ready}, ANSWER_TIMEOUT_S)
                    self._workers[index] = worker
                    self._pids.by_name[str(index)] = worker.pid
                    log.info("worker_up", worker=index, pid=worker.pid)
                    return
                staged, epoch = self._live, self._epoch.read()
            live = encode_each(staged or {}, encode_accepted)
            _must_do(worker, {"do": "stage", "epoch": epoch, "live": live}, STAGE_TIMEOUT_S)

    def _wait_for_workers(self) -> list[ChildProcess]:
        """Wait until a worker answers calls; return those that do."""
        while not self._is_closing.is_set():
            with self._lock:
                if self._workers:
                    return list(self._workers.values())
            time.sleep(0.02)
        raise ChildLost("the service ends")

    def _ask_all(self, workers: Iterable[ChildProcess], message: Message, timeout_s: float) -> Replies:
        """Ask several workers at once; one that is lost is replaced by its keeper."""
        asked = {worker: self._pool.submit(worker.ask, message, timeout_s) for worker in list(workers)}
        n_done, refusals = 0, dict[ChildProcess, str]()
        for worker, reply in asked.items():
            try:
                reply.result()
                n_done += 1
            except ChildRefused as refusal:
                refusals[worker] = str(refusal)
            except ChildLost as error:
                log.warning("worker_lost", error=str(error))
        return Replies(n_done, refusals)


def _must_do(worker: ChildProcess, message: Message, timeout_s: float) -> None:
    """Ask a worker that is starting; raises ChildLost where it does not do it."""
    try:
        worker.ask(message, timeout_s)
    except ChildRefused as refusal:
        raise ChildLost(f"worker process {worker.pid} cannot {message['do']}: {refusal}") from refusal
