"""One call after another from Python: the client's two transports take turns against one service.

Wall time of a call, and CPU of the client for it; each transport runs in a process of its own, so that no thread of the
other disturbs it.
"""

import json
import subprocess
import sys
import time
from statistics import median

import numpy as np

from benchmarks.act import OBSERVATION, Report
from benchmarks.load import ENVIRONMENT, ROOT, polserve
from benchmarks.tables import finish, options, show
from polserve.serving.client import PolicyClient
from polserve.serving.client.transport import TransportName

TRANSPORTS: tuple[TransportName, ...] = ("nghttp2", "grpcio")
KINDS = {"act": "Act", "step": "a step of an episode"}


def measure(target: str, transport: TransportName, kind: str, calls: int) -> tuple[float, float]:
    """Return milliseconds of wall time, the median, and of CPU of this process, the mean, for a call."""
    with PolicyClient(target, transport=transport) as client, client.episode("cartpole") as episode:

        def ask() -> None:
            if kind == "act":
                client.act("cartpole", OBSERVATION)
            else:
                episode.act(OBSERVATION)

        for _ in range(calls // 10):
            ask()
        took, cpu_s = np.empty(calls), time.process_time()
        for i in range(calls):
            started = time.perf_counter()
            ask()
            took[i] = time.perf_counter() - started
        return 1000 * float(np.median(took)), 1000 * (time.process_time() - cpu_s) / calls


def measured_apart(target: str, transport: str, kind: str, calls: int) -> tuple[float, float]:
    """Measure in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.client", "measure", target, transport, kind, str(calls)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT)  # noqa: S603
    wall_ms, cpu_ms = json.loads(done.stdout)
    return wall_ms, cpu_ms


def main() -> None:
    """Measure in turns and print the medians."""
    if sys.argv[1:2] == ["measure"]:
        target, transport, what, n = sys.argv[2:]
        name: TransportName = "nghttp2" if transport == "nghttp2" else "grpcio"
        print(json.dumps(measure(target, name, what, int(n))))
        return
    arguments = options(__doc__ or "").parse_args()
    rounds, calls = (3, 2_000) if arguments.quick else (9, 5_000)
    report = Report()
    with polserve() as ours:
        for kind, title in KINDS.items():
            runs: dict[str, list[tuple[float, float]]] = {transport: [] for transport in TRANSPORTS}
            for _ in range(rounds):
                for transport in TRANSPORTS:
                    runs[transport].append(measured_apart(f"127.0.0.1:{ours.port}", transport, kind, calls))
            new, old = ([median(side) for side in zip(*runs[transport], strict=True)] for transport in TRANSPORTS)
            bound = "<= 0.45" if kind == "act" else ""
            report.line(f"{kind}_wall", f"{title} after another, nghttp2 to grpcio, wall", new[0], old[0], bound)
            report.line(f"{kind}_client_cpu", f"{title} after another, nghttp2 to grpcio, CPU", new[1], old[1], "")
    show(f"transports of the client, medians of {rounds}", ("what", "nghttp2", "grpcio", "ratio", "asked"), report.rows)
    finish(report.figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
