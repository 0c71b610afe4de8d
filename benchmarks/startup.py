"""How long `polserve serve` takes to be ready, beside the bare interpreter with its three compiled libraries."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from statistics import median

from benchmarks.tables import finish, options, show

BARE = "import numpy, grpc, onnxruntime"


def import_s(statement: str) -> float:
    """Wall time of a fresh interpreter that runs the statement."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)  # noqa: S603
    return time.perf_counter() - started


def ready_s(http_port: int) -> float:
    """Wall time from the command to the first good /readyz."""
    started = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "polserve", "serve", "--grpc-port", "0", "--http-port", str(http_port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"},
    )
    try:
        while process.poll() is None:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{http_port}/readyz", timeout=1),
            ):
                return time.perf_counter() - started
            time.sleep(0.01)
        raise SystemExit(f"polserve serve ended with exit code {process.returncode}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def main() -> None:
    """Measure each side a few times in turns and print the medians."""
    parser = options(__doc__ or "")
    parser.add_argument("--http-port", type=int, default=18080, help="a free port")
    arguments = parser.parse_args()
    rounds = 3 if arguments.quick else 9
    sides: dict[str, list[float]] = {"interpreter": [], "import polserve": [], BARE: [], "serve until ready": []}
    for _ in range(rounds):
        sides["interpreter"].append(import_s("pass"))
        sides["import polserve"].append(import_s("import polserve"))
        sides[BARE].append(import_s(BARE))
        sides["serve until ready"].append(ready_s(arguments.http_port))
    rows = [(name, f"{median(times):.3f} s", f"{min(times):.3f} s") for name, times in sides.items()]
    show(f"start-up, {rounds} rounds", ("what", "median", "fastest"), rows)
    finish(
        {
            "import_polserve_s": median(sides["import polserve"]),
            "serve_ready_s": median(sides["serve until ready"]),
            "libraries_s": median(sides[BARE]),
            "ratio": median(sides["serve until ready"]) / median(sides[BARE]),
        },
        as_json=arguments.json,
    )


if __name__ == "__main__":
    main()
