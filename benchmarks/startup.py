"""What it takes until `polserve serve` is ready, in time and CPU, beside an interpreter that imports its libraries.

All modules are compiled before, as pip compiles those that it installs.
"""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.tables import finish, options, show

BARE = "import numpy, grpc, onnxruntime"
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if name not in {"MLFLOW_TRACKING_URI", "PYTHONDONTWRITEBYTECODE"}
}


class Cost(NamedTuple):
    """What a start took."""

    wall_s: float
    cpu_s: float


def import_cost(statement: str) -> Cost:
    """Cost of a fresh interpreter that runs the statement."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", statement], check=True, env=ENVIRONMENT)  # noqa: S603
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(time.perf_counter() - started, cpu_s)


def ready_cost(http_port: int) -> Cost:
    """Cost from the command to the first good /readyz, of the service and its validator."""
    started = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "polserve", "serve", "--grpc-port", "0", "--http-port", str(http_port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
    )
    try:
        while process.poll() is None:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{http_port}/readyz", timeout=1),
            ):
                wall_s = time.perf_counter() - started
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
                return Cost(wall_s, sum(map(cpu_s, (process.pid, *map(int, children)))))
            time.sleep(0.01)
        raise SystemExit(f"polserve serve ended with exit code {process.returncode}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def cpu_s(pid: int) -> float:
    """CPU that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure each side a few times in turns and print the medians."""
    parser = options(__doc__ or "")
    parser.add_argument("--http-port", type=int, default=18080, help="a free port")
    arguments = parser.parse_args()
    rounds = 3 if arguments.quick else 9
    sides: dict[str, list[Cost]] = {"interpreter": [], "import polserve": [], BARE: [], "serve until ready": []}
    ready_cost(arguments.http_port)  # compiles what is not
    for _ in range(rounds):
        sides["interpreter"].append(import_cost("pass"))
        sides["import polserve"].append(import_cost("import polserve"))
        sides[BARE].append(import_cost(BARE))
        sides["serve until ready"].append(ready_cost(arguments.http_port))
    middle = {name: Cost(*map(median, zip(*costs, strict=True))) for name, costs in sides.items()}
    fastest = {name: min(costs) for name, costs in sides.items()}
    rows = [
        (name, f"{cost.wall_s:.3f} s", f"{fastest[name].wall_s:.3f} s", f"{cost.cpu_s:.3f} s")
        for name, cost in middle.items()
    ]
    show(f"start-up, {rounds} rounds", ("what", "median", "fastest", "CPU"), rows)
    libraries, ready = middle[BARE], middle["serve until ready"]
    finish(
        {
            "import_polserve_s": middle["import polserve"].wall_s,
            "serve_ready_s": ready.wall_s,
            "libraries_s": libraries.wall_s,
            "ratio": ready.wall_s / libraries.wall_s,
            "serve_ready_cpu_s": ready.cpu_s,
            "cpu_ratio": ready.cpu_s / libraries.cpu_s,
        },
        as_json=arguments.json,
    )


if __name__ == "__main__":
    main()
