"""A crew of several processes on one port, and their supervisor.

The kernel spreads connections over the processes (SO_REUSEPORT). A process that ends is replaced. A switch has two
phases: every process stages the new state, then the supervisor raises the epoch that all of them share.
"""

import socket
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import mark_process_dead

from polserve.serving.addresses import resolve, unavailable
from polserve.serving.children.messages import Message, live_message, ref_message
from polserve.serving.children.process import ChildLost, ChildProcess
from polserve.serving.metrics.service import WorkerPids, collect_workers
from polserve.serving.settings import Settings
from polserve.serving.sources.source import Desired, VersionRef
from polserve.serving.workers.epoch import SharedEpoch
from polserve.serving.workers.metrics_folder import MetricsFolder

PREPARE_TIMEOUT_S = 120.0
STAGE_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 5.0
START_S = 10.0
"""For the first process to come up."""
RESPAWN_DELAY_S = 0.5
"""After a process that ended before it answered calls."""

log = structlog.get_logger()


class ProcessCrew:
    """Supervises the processes that answer."""

    def __init__(self, settings: Settings, registry: CollectorRegistry, grace_s: float) -> None:
        """Reserve the gRPC port; nothing is started yet. A worker has `grace_s` to finish what is in flight.

        Raises:
            PortInUse: it cannot be bound.
            ConfigurationError: there is no folder to write metrics to.
        """
        self._settings = settings
        self._grace_s = grace_s
        self._port = _reserve(settings.host, settings.grpc_port)
        self.grpc_port: int = self._port.getsockname()[1]
        self._epoch = SharedEpoch()
        self._metrics = MetricsFolder()
        self._pids = WorkerPids()
        collect_workers(registry, self._metrics.path, self._pids)
        self._lock = threading.RLock()
        self._members: dict[int, ChildProcess] = {}
        self._lock_of_processes = threading.Lock()
        self._processes: dict[int, ChildProcess] = {}
        """Those that start, too."""
        self._live: Desired | None = None
        self._is_ready = False
        self._lost = ""
        """Why the latest worker did not start, or ended."""
        self._is_closing = threading.Event()
        self._pool = ThreadPoolExecutor(settings.workers, thread_name_prefix="crew")
        self._keepers = [
            threading.Thread(target=self._keep, args=(index,), name=f"keeper-{index}", daemon=True)
            for index in range(settings.workers)
        ]

    def start(self) -> None:
        """Start the processes, and replace each that ends; one answers when this returns, if it can."""
        for keeper in self._keepers:
            keeper.start()
        until = time.monotonic() + START_S
        while not self._members and time.monotonic() < until:
            time.sleep(0.02)

    def prepare(self, ref: VersionRef) -> str:
        """Every process holds the version, ready to answer; or why not."""
        message = {"do": "prepare", "ref": ref_message(ref)}
        replies = self._ask_all(self._wait_for_members(), message, PREPARE_TIMEOUT_S)
        if not replies:
            return "every process that was to load it ended"
        return next((reply["reason"] for reply in replies if reply["reason"]), "")

    def switch(self, live: Desired) -> None:
        """From now on every call is answered by `live`, in every process."""
        with self._lock:
            epoch = self._epoch.read() + 1
            message = {"do": "stage", "epoch": epoch, "live": live_message(live)}
            members = list(self._members.values())
            for member, reply in zip(members, self._pool.map(_asker(message, STAGE_TIMEOUT_S), members), strict=True):
                if reply is not None and reply["reason"]:
                    log.error("worker_cannot_follow", pid=member.pid, reason=reply["reason"])
                    member.kill()  # another takes its place, and is not let in before it can
            self._live = live
            self._epoch.write(epoch)

    def set_health(self, *, is_ready: bool) -> None:
        """Tell health checkers, in every process."""
        with self._lock:
            self._is_ready = is_ready
            self._ask_all(self._members.values(), {"do": "health", "is_ready": is_ready}, ANSWER_TIMEOUT_S)

    def state(self) -> Mapping[str, Any]:
        """What /readyz says of the crew."""
        return {"workers": {"up": len(self._members), "of": self._settings.workers}}

    def problem(self) -> str:
        """Why calls cannot be answered."""
        return "" if self._members else f"no worker process is up{self._lost}"

    def drain(self, grace_s: float) -> None:
        """Let every process finish what is in flight, and end."""
        until = time.monotonic() + grace_s + 1.0
        with self._lock_of_processes:
            self._is_closing.set()
            processes = list(self._processes.values())
        for process in processes:
            process.end()
        for process in processes:
            process.wait(max(0.0, until - time.monotonic()))
        for keeper in self._keepers:
            if keeper.is_alive():
                keeper.join(1.0)
        self._port.close()
        self._pool.shutdown(wait=False)
        self._metrics.remove()

    def _keep(self, index: int) -> None:
        """See to it that there is a worker `index`, until the end."""
        while not self._is_closing.is_set():
            try:
                worker = self._spawn(index)
            except (ChildLost, OSError) as error:  # the latter where no process can be started now
                if self._is_closing.is_set():
                    return
                self._lost = f": {error}"
                log.error("worker_not_started", worker=index, error=str(error))  # noqa: TRY400 - it says why in one line
                self._is_closing.wait(RESPAWN_DELAY_S)
                continue
            exit_code = worker.wait()
            with self._lock:
                is_member = self._members.pop(index, None) is not None
                self._pids.by_name.pop(str(index), None)
            if self._is_closing.is_set():
                return
            mark_process_dead(worker.pid, str(self._metrics.path))
            self._lost = f": worker process {worker.pid} ended with exit code {exit_code}"
            log.error("worker_ended", worker=index, pid=worker.pid, exit_code=exit_code)
            if not is_member:
                self._is_closing.wait(RESPAWN_DELAY_S)

    def _spawn(self, index: int) -> ChildProcess:
        config = {
            "settings": self._settings.model_dump(mode="json"),
            "index": index,
            "n": self._settings.workers,
            "host": self._settings.host,
            "port": self.grpc_port,
            "epoch_fd": self._epoch.fd,
            "grace_s": self._grace_s,
        }
        with self._lock_of_processes:
            if self._is_closing.is_set():
                raise ChildLost("the service ends")
            worker = self._processes[index] = self._start_process()
        try:
            worker.configure(config)
            self._admit(index, worker)
        except ChildLost:
            if not self._is_closing.is_set():
                worker.kill()
            raise
        return worker

    def _start_process(self) -> ChildProcess:
        environment = {"PROMETHEUS_MULTIPROC_DIR": str(self._metrics.path)}
        return ChildProcess("worker", "polserve.serving.workers.child", environment=environment, fds=(self._epoch.fd,))

    def _admit(self, index: int, worker: ChildProcess) -> None:
        """`worker` answers calls with what is live now; what takes long is done without holding up a switch."""
        staged: Desired | None = None
        while True:
            with self._lock:
                if staged is self._live:
                    _must(worker, {"do": "start"}, ANSWER_TIMEOUT_S)
                    _must(worker, {"do": "health", "is_ready": self._is_ready}, ANSWER_TIMEOUT_S)
                    self._members[index] = worker
                    self._pids.by_name[str(index)] = worker.pid
                    log.info("worker_up", worker=index, pid=worker.pid)
                    return
                staged, epoch = self._live, self._epoch.read()
            _must(worker, {"do": "stage", "epoch": epoch, "live": live_message(staged or {})}, STAGE_TIMEOUT_S)

    def _wait_for_members(self) -> list[ChildProcess]:
        while not self._is_closing.is_set():
            with self._lock:
                if self._members:
                    return list(self._members.values())
            time.sleep(0.02)
        raise ChildLost("the service ends")

    def _ask_all(self, members: Any, message: Message, timeout_s: float) -> list[Message]:
        """The replies of those that gave one; a process that is lost is replaced by its keeper."""
        replies = self._pool.map(_asker(message, timeout_s), list(members))
        return [reply for reply in replies if reply is not None]


def _asker(message: Message, timeout_s: float) -> Any:
    def ask(worker: ChildProcess) -> Message | None:
        try:
            return worker.ask(message, timeout_s)
        except ChildLost as error:
            log.warning("worker_lost", error=str(error))
            return None

    return ask


def _must(worker: ChildProcess, message: Message, timeout_s: float) -> None:
    reason = worker.ask(message, timeout_s)["reason"]
    if reason:
        raise ChildLost(f"worker process {worker.pid} cannot {message['do']}: {reason}")


def _reserve(host: str, port: int) -> socket.socket:
    """A socket that holds the port for the workers, and takes no connection itself.

    Raises:
        PortInUse: another program has it, even one that would share it.
    """
    try:
        family, address = resolve(host, port)
        with socket.socket(family, socket.SOCK_STREAM) as alone:
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # whoever listened before may have left traces
            alone.bind(address)
            address = alone.getsockname()
        shared = socket.socket(family, socket.SOCK_STREAM)
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        shared.bind(address)
    except OSError as error:
        raise unavailable("grpc-port", host, port, error) from error
    return shared
