"""Server processes under h2load: CPU per call from the processes' clocks, latencies from h2load's log."""

import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import numpy as np

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.tensors import to_tensor

METHOD = "polserve.v1.PolicyService/Act"
ROOT = Path(__file__).resolve().parents[1]
PYTHON = (sys.executable, "-m")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("POLSERVE_", "MLFLOW_"))}


@dataclass(frozen=True, slots=True)
class Shape:
    """How h2load calls."""

    connections: int
    streams: int
    """Calls in flight on each connection."""

    def __str__(self) -> str:
        return f"{self.connections}x{self.streams}"


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of a load."""

    cpu_ms: float
    """CPU time of the server for a call."""
    p50_ms: float
    p99_ms: float
    calls_per_s: float


WORKER = b"polserve.serving.workers.worker_process"
"""The module that a worker process runs; the service's other children answer nothing."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    port: int
    pids: Sequence[int]
    """Processes of the server that answer calls."""
    method: str = METHOD
    http_port: int = 0
    """Port of its pages; 0 where it has none."""
    is_encrypted: bool = False
    bearer: str = ""
    """Token that it is called with; empty for none."""

    def cpu_s(self) -> float:
        """CPU time so far, of all of its processes."""
        return sum(map(process_cpu_s, self.pids))

    def only(self, pid: int) -> "Server":
        """One of its processes."""
        return replace(self, pids=[pid])

    def resident_mib(self) -> float:
        """Resident memory of its largest process."""
        sizes = [re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()) for pid in self.pids]
        return max(int(size[0]) for size in sizes) / 1024

    def n_threads(self) -> int:
        """Count the threads of its processes."""
        return sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in self.pids)

    def ask(self, message: bytes) -> bytes:
        """One call with a real client: h2load sees the HTTP status only."""
        with grpc.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{self.method}")
            return call(message, timeout=60, wait_for_ready=True)

    def sample(self, name: str) -> float:
        """Return a sample of its metrics, by its name and labels as they are written; SystemExit where it has none."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/metrics", timeout=30) as page:
            lines = page.read().decode().splitlines()
        found = [float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{name} ")]
        if not found:
            raise SystemExit(f"metrics: expected a sample {name}, got none")
        return found[0]

    def drive(self, message: bytes, shape: Shape, calls: int) -> Measured:
        """Make `calls` calls, after a tenth of them to warm up."""
        run_h2load(self, message, shape, "-n", str(max(calls // 10, shape.connections * shape.streams)))
        started, before = time.perf_counter(), self.cpu_s()
        latencies = run_h2load(self, message, shape, "-n", str(calls))
        cpu_s, seconds = self.cpu_s() - before, time.perf_counter() - started
        p50, p99 = np.quantile(latencies, [0.5, 0.99]) / 1000
        return Measured(1000 * cpu_s / calls, float(p50), float(p99), calls / seconds)

    def drive_at(self, message: bytes, shape: Shape, calls_per_s: int, seconds: int) -> tuple[float, float]:
        """Make so many calls a second; return the calls a second that were answered, and p99 in milliseconds."""
        rate = ("-D", str(seconds), "--warm-up-time", "1", "--rps", str(max(1, calls_per_s // shape.connections)))
        latencies = run_h2load(self, message, shape, *rate)
        return len(latencies) / seconds, float(np.quantile(latencies, 0.99)) / 1000


def process_cpu_s(pid: int) -> float:
    """CPU time of a process so far, by its clock: /proc counts in hundredths of a second."""
    clock = ctypes.c_int()
    if ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise SystemExit(f"process {pid} has ended")
    return time.clock_gettime(clock.value)


def require_h2load() -> None:
    """End the program with what to do where h2load is missing."""
    if shutil.which("h2load") is None:
        raise SystemExit("h2load is needed: install Debian's nghttp2-client")


def act_message(policy: str, observation: np.ndarray) -> bytes:
    """Serialise an ActRequest."""
    return pb.ActRequest(policy=policy, observation=to_tensor(observation)).SerializeToString()


@contextlib.contextmanager
def polserve(*options: str, bearer: str = "") -> Iterator[Server]:
    """`polserve serve` on free ports, ready; called with a token where it asks for one."""
    with process_of([*PYTHON, "polserve", "serve", "--grpc-port", "0", "--http-port", "0", *options], ROOT) as process:
        line = process.stdout.readline() if process.stdout else ""
        ports = re.findall(r":(\d+)", line)
        if len(ports) < 2:  # noqa: PLR2004 - gRPC and HTTP
            raise SystemExit(f"polserve did not start: {line!r}")
        n_workers = int(options[options.index("--workers") + 1]) if "--workers" in options else 1
        is_encrypted = "--tls-cert" in options
        while not _is_up(f"{'https' if is_encrypted else 'http'}://127.0.0.1:{ports[1]}/readyz", n_workers):
            time.sleep(0.02)
        pids = workers_of(process.pid) or [process.pid]
        yield Server(int(ports[0]), pids, http_port=int(ports[1]), is_encrypted=is_encrypted, bearer=bearer)


def workers_of(pid: int) -> list[int]:
    """Find the processes that the service `pid` has started to answer calls; none where it answers itself."""
    workers = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            is_child = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1]) == pid
            if is_child and WORKER in (folder / "cmdline").read_bytes().split(b"\0"):
                workers.append(int(folder.name))
    return workers


@contextlib.contextmanager
def rival(kind: str) -> Iterator[Server]:
    """One of the hand-written servers of rivals.py."""
    with process_of([*PYTHON, "benchmarks.rivals", kind], ROOT) as process:
        line = process.stdout.readline() if process.stdout else ""
        yield Server(int(line), [process.pid])


def free_port() -> int:
    """Find a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def process_of(command: Sequence[str], cwd: Path) -> "Iterator[subprocess.Popen[str]]":
    """Start a process that is ended when the block is left."""
    process = subprocess.Popen(  # noqa: S603
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=ENVIRONMENT,
        cwd=cwd,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(12)
        except subprocess.TimeoutExpired:
            process.kill()


def _is_up(url: str, n_workers: int) -> bool:
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE  # a certificate of this program's own
    with (
        contextlib.suppress(OSError),
        urllib.request.urlopen(url, timeout=2, context=trusting) as page,  # noqa: S310 - our own address
    ):
        return n_workers == 1 or f'"up": {n_workers}' in page.read().decode()
    return False


def run_h2load(server: Server, message: bytes, shape: Shape, *amount: str) -> np.ndarray:
    """Run h2load with options that say how much; return the microseconds of each call. SystemExit where one failed."""
    with tempfile.TemporaryDirectory() as folder:
        body, log = Path(folder) / "body", Path(folder) / "log"
        body.write_bytes(b"\0" + struct.pack(">I", len(message)) + message)
        command = [
            *("h2load", *amount, "-c", str(shape.connections), "-m", str(shape.streams), "-d", str(body)),
            *("-H", "content-type: application/grpc", "-H", "te: trailers", "--log-file", str(log)),
            *(("-H", f"authorization: Bearer {server.bearer}") if server.bearer else ()),
            f"{'https' if server.is_encrypted else 'http'}://127.0.0.1:{server.port}/{server.method}",
        ]
        output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600).stdout  # noqa: S603
        if not re.search(r"\b[1-9]\d* succeeded, 0 failed, 0 errored", output):
            raise SystemExit(f"some calls failed:\n{output}")
        return np.array([int(line.split("\t")[2]) for line in log.read_text().splitlines()])
