"""Several worker processes on one port, and the supervisor that starts and replaces them.

The workers share the listening socket, and whoever has the fewest connections takes the next one; with the grpcio front
the kernel chooses (SO_REUSEPORT). A worker that ends is replaced. A switch has two phases: every worker stages the new
state, then the supervisor raises the epoch that all of them share.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from prometheus_client import CollectorRegistry, Counter

from polserve.serving.addresses import bind_file, reserve
from polserve.serving.entrance import Entrance
from polserve.serving.errors import ConfigurationError, RolloutRefused
from polserve.serving.inference.run_marks import RunMarks
from polserve.serving.logs import Log
from polserve.serving.metrics.service import WorkerPids, collect_workers
from polserve.serving.processes.encoding import encode_accepted, encode_each
from polserve.serving.processes.parent import ChildLost, ChildProcess
from polserve.serving.settings.settings import Settings
from polserve.serving.versions import AcceptedVersion, LiveVersions, Runaway
from polserve.serving.workers.asking import ask_all, must_do
from polserve.serving.workers.connections import ConnectionCounts
from polserve.serving.workers.epoch import SharedEpoch
from polserve.serving.workers.launch import Shared
from polserve.serving.workers.metrics_folder import MetricsFolder
from polserve.serving.workers.relay import Relay
from polserve.serving.workers.restarts import MOST_FAILURES, Restarts, WorkerEnd

PREPARE_TIMEOUT_S = 120.0
STAGE_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 5.0
START_S = 10.0
"""Seconds for the first worker to come up."""
UNSTARTED_S = 0.5
"""Seconds for a worker that does not answer calls yet to end."""

log = Log()


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
        self._port = reserve(settings.host, settings.grpc_port)
        self.grpc_port: int = self._port.getsockname()[1]
        self._socket = None if settings.grpc_socket is None else bind_file(settings.grpc_socket)
        self.calls = Relay()
        """What passes calls on to the workers."""
        self._epoch = SharedEpoch()
        self._connections = ConnectionCounts(settings.workers)
        self._marks = RunMarks(settings.workers)
        self._metrics = MetricsFolder(settings.workers)
        self._shared = Shared(
            settings, self._port, self._socket, self._epoch, self._connections, self._marks, self._metrics.path, grace_s
        )
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
        self._restarts = Restarts(settings.workers)
        self._give_up: Callable[[str], None] = lambda _reason: None
        self._report: Callable[[Runaway], None] = lambda _runaway: None
        self._ended = Counter(
            "polserve_workers_ended", "Workers that ended while the service ran.", ("how",), registry=registry
        )
        for how in ("failed", "silent", "killed"):
            self._ended.labels(how)
        self._is_closing = threading.Event()
        self._pool = ThreadPoolExecutor(settings.workers, thread_name_prefix="supervisor")
        self._keepers = [
            threading.Thread(target=self._keep, args=(index,), name=f"keeper-{index}", daemon=True)
            for index in range(settings.workers)
        ]

    def start(self, give_up: Callable[[str], None], is_ending: Callable[[], bool]) -> None:
        """Start the processes, and replace each that ends; one answers when this returns, if it can.

        `give_up` is called with the reason when all of them fail again and again. This returns sooner where the service
        `is_ending`.
        """
        self._give_up = give_up
        for keeper in self._keepers:
            keeper.start()
        until = time.monotonic() + START_S
        while not (self._workers or is_ending()) and time.monotonic() < until:
            time.sleep(0.02)

    def watch_runs(self, report: Callable[[Runaway], None]) -> None:
        """Have `report` called with each run of a model that took too much and was ended, in any worker."""
        self._report = report

    def prepare(self, version: AcceptedVersion) -> None:
        """Have every worker load the version.

        Raises:
            RolloutRefused: one of them cannot, or none lived to load it.
            ChildLost: the service ends.
        """
        message = {"do": "prepare", "version": encode_accepted(version)}
        replies = ask_all(self._pool, self._wait_for_workers(), message, PREPARE_TIMEOUT_S)
        if replies.refusals:
            raise RolloutRefused("; ".join(sorted(set(replies.refusals.values()))))
        if not replies.n_done:
            raise RolloutRefused("every process that was to load it ended")

    def switch(self, live: LiveVersions) -> None:
        """Answer every call that comes from now on by `live`, in every worker."""
        with self._lock:
            epoch = self._epoch.read() + 1
            message = {"do": "stage", "epoch": epoch, "live": encode_each(live, encode_accepted)}
            replies = ask_all(self._pool, self._workers.values(), message, STAGE_TIMEOUT_S)
            for worker, reason in replies.refusals.items():
                log.error("worker_cannot_follow", pid=worker.pid, reason=reason)
                worker.kill()  # another takes its place, and is not let in before it can
            self._live = live
            self._epoch.write(epoch)

    def set_health(self, *, is_ready: bool) -> None:
        """Tell health checkers of every worker whether the service is ready, and what is live."""
        with self._lock:
            self._is_ready = is_ready
            ask_all(self._pool, self._workers.values(), {"do": "health", "is_ready": is_ready}, ANSWER_TIMEOUT_S)

    def state(self) -> Mapping[str, Any]:
        """Return what /readyz says of the workers: how many are up, and why others are not."""
        up = {"up": len(self._workers), "of": self._settings.workers}
        if self._latest_loss and len(self._workers) < self._settings.workers:
            return {"workers": {**up, "latest_loss": self._latest_loss}}
        return {"workers": up}

    def is_stuck(self) -> bool:
        """Return False: workers that hang are replaced."""
        return False

    def problem(self) -> str | None:
        """Say why calls cannot be answered; None where they can."""
        if self._workers:
            return None
        return "no worker process is up" + (f": {self._latest_loss}" if self._latest_loss else "")

    def drain(self, grace_s: float) -> None:
        """Let every worker finish what is in flight, and end; those that are only starting have nothing to finish."""
        now = time.monotonic()
        with self._lock_of_processes:
            self._is_closing.set()
            processes = list(self._processes.values())
        answering = list(self._workers.copy().values())
        with contextlib.suppress(OSError):  # where nobody listens on it
            self._port.shutdown(socket.SHUT_RDWR)  # else connections would wait for workers that take no more
        self._close_file()
        for process in processes:
            process.terminate()
        for process in processes:
            until = now + (grace_s + 1.0 if process in answering else UNSTARTED_S)
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
        """Keep a worker `index` running, until the service ends or gives up."""
        while not self._is_closing.is_set():
            end: WorkerEnd | None = None
            try:
                end = self._watch(index, self._spawn(index))
            except (ChildLost, OSError) as error:  # the latter where no process can be started now
                self._note_loss(str(error), "worker_not_started", worker=index)
            except Exception as error:  # a keeper that ended would leave its place empty for ever
                log.exception("keeper_failed", worker=index)
                self._latest_loss = f"unexpected {type(error).__name__}; the service's log has the details"
            delay_s = self._restarts.delay_s(index, end)
            if self._restarts.is_hopeless and not self._is_closing.is_set():
                self._give_up(
                    f"each of the {self._settings.workers} worker processes failed {MOST_FAILURES} times in a row, as "
                    f"it started or soon after; the latest: {self._latest_loss}"
                )
                return
            self._is_closing.wait(delay_s)

    def _watch(self, index: int, worker: ChildProcess) -> WorkerEnd:
        """Wait until a worker that answers calls has ended, and take it out of service."""
        since = time.monotonic()
        exit_code = worker.wait()
        self._connections.leave(index)
        self.calls.remove(index)
        with self._lock:
            self._workers.pop(index, None)
            self._pids.by_name.pop(str(index), None)
        self._metrics.forget(index)
        for runaway in self._marks.crashed(index, exit_code):
            self._report(runaway)
        end = WorkerEnd(exit_code, time.monotonic() - since, worker.was_silent)
        how = "silent" if end.was_silent else "failed" if end.is_failure else "killed"
        if not self._is_closing.is_set():
            self._ended.labels(how).inc()
            self._note_loss(worker.how_it_ended(), "worker_ended", worker=index, pid=worker.pid, exit_code=exit_code)
        return end

    def _note_loss(self, reason: str, event: str, **fields: object) -> None:
        """Remember and log why a worker is missing, unless the service ends."""
        if not self._is_closing.is_set():
            self._latest_loss = reason
            log.error(event, error=reason, **fields)

    def _spawn(self, index: int) -> ChildProcess:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                return self._spawn_with(index, ours, theirs.fileno())
            except BaseException:
                ours.close()
                raise

    def _spawn_with(self, index: int, calls: socket.socket, calls_fd: int) -> ChildProcess:
        """Start a worker that answers what is passed on over a pair of sockets; it inherits the end `calls_fd`."""
        with self._lock_of_processes:
            if self._is_closing.is_set():
                raise ChildLost("the service ends")
            worker = self._processes[index] = self._shared.start(calls_fd)
            worker.on_notice = lambda notice: self._report(Runaway(**notice))
        try:
            worker.configure(self._shared.config(index, calls_fd))
            self._admit(index, worker)
            self.calls.add(index, calls)
        except ChildLost:
            if not self._is_closing.is_set():
                worker.kill()
            raise
        return worker

    def _admit(self, index: int, worker: ChildProcess) -> None:
        """Let a worker answer calls, with what is live now; what takes long is done without holding up a switch."""
        staged: LiveVersions | None = None
        while True:
            with self._lock:
                if staged is self._live:
                    must_do(worker, {"do": "start"}, ANSWER_TIMEOUT_S)
                    must_do(worker, {"do": "health", "is_ready": self._is_ready}, ANSWER_TIMEOUT_S)
                    self._workers[index] = worker
                    self._pids.by_name[str(index)] = worker.pid
                    log.info("worker_up", worker=index, pid=worker.pid)
                    return
                staged, epoch = self._live, self._epoch.read()
            live = encode_each(staged or {}, encode_accepted)
            must_do(worker, {"do": "stage", "epoch": epoch, "live": live}, STAGE_TIMEOUT_S)

    def _wait_for_workers(self) -> list[ChildProcess]:
        """Wait until a worker answers calls; return those that do."""
        while not self._is_closing.is_set():
            with self._lock:
                if self._workers:
                    return list(self._workers.values())
            time.sleep(0.02)
        raise ChildLost("the service ends")
