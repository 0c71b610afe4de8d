"""Who waits while Ms. Pac-Man is at its limit: CartPole at half its load, health checks and /readyz.

The limit: 16 clients ask Ms. Pac-Man for an action, each again as soon as it was answered. CartPole's load: half of
what it answers in a closed loop alone. The same is measured without Ms. Pac-Man.
"""

import contextlib
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.act import CARTPOLE, EIGHT, Report
from benchmarks.load import Server, Shape, act_message, polserve, require_h2load, run_h2load
from benchmarks.tables import finish, options, show
from polserve.serving.client import PolicyClient

AT_THE_LIMIT = Shape(16, 1)
ASKED_MS = 20.0
PROBE_PAUSE_S = 0.02


class Probe(threading.Thread):
    """Asks something again and again, and keeps how long each answer took."""

    def __init__(self, ask: Callable[[], object]) -> None:
        super().__init__()
        self._ask = ask
        self._is_over = threading.Event()
        self._took_s: list[float] = []

    def run(self) -> None:
        """Ask until it is told to stop."""
        while not self._is_over.wait(PROBE_PAUSE_S):
            started = time.perf_counter()
            self._ask()
            self._took_s.append(time.perf_counter() - started)

    def p99_ms(self) -> float:
        """Stop, and return the 99th percentile."""
        self._is_over.set()
        self.join()
        return 1000 * float(np.quantile(self._took_s, 0.99))


def frames_message(server: Server) -> bytes:
    """Make an Act for the bundled Ms. Pac-Man: a stack of random frames, as its spec has it."""
    with PolicyClient(f"127.0.0.1:{server.port}", timeout_s=60) as client:
        version = client.policy("mspacman").live_version()
    if version is None:
        raise SystemExit("mspacman is not live")
    shape = version.observation.shape
    return act_message("mspacman", np.random.default_rng(0).integers(0, 256, shape, np.uint8))


@contextlib.contextmanager
def at_its_limit(server: Server, message: bytes, seconds: int) -> Iterator[None]:
    """Ask Ms. Pac-Man as much as it answers, for a little longer than so many seconds."""
    asking = threading.Thread(target=run_h2load, args=(server, message, AT_THE_LIMIT, "-D", str(seconds + 3)))
    asking.start()
    time.sleep(1.5)
    try:
        yield
    finally:
        asking.join()


def measure(server: Server, calls_per_s: int, seconds: int) -> dict[str, float]:
    """Return the 99th percentiles of all who ask, in milliseconds, and the answers a second that CartPole got."""
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        probes = {
            "health": Probe(lambda: check(health_pb2.HealthCheckRequest(service="cartpole"), timeout=60)),
            "readyz": Probe(lambda: urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}/readyz").read()),
        }
        for probe in probes.values():
            probe.start()
        rate, p99_ms = server.drive_at(CARTPOLE, EIGHT, calls_per_s, seconds)
        return {"act": p99_ms, **{name: probe.p99_ms() for name, probe in probes.items()}, "rate": rate}


def main() -> None:
    """Measure and print."""
    arguments = options(__doc__ or "").parse_args()
    seconds = 5 if arguments.quick else 20
    require_h2load()
    report = Report()
    with polserve() as server:
        message = frames_message(server)
        half = int(server.drive(CARTPOLE, EIGHT, 20_000).calls_per_s / 2)
        alone = measure(server, half, seconds)
        with at_its_limit(server, message, seconds):
            beside = measure(server, half, seconds)
    titles = {"act": f"CartPole, {half:,} calls/s", "health": "health Check", "readyz": "/readyz"}
    for name, title in titles.items():
        report.line(f"limit_{name}_p99", f"{title}, p99, to {ASKED_MS:g} ms", beside[name], ASKED_MS, "<= 1")
        report.line(f"limit_{name}_alone", "the same without Ms. Pac-Man", alone[name], ASKED_MS, "")
    report.line("limit_rate", "CartPole answers a second, to without", beside["rate"], alone["rate"], "", "/s")
    show("while Ms. Pac-Man is at its limit", ("what", "ours", "to", "ratio", "asked"), report.rows)
    finish(report.figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
