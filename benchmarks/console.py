"""How heavy the console is, how soon it paints beside a page of two letters, and how fast it plays CartPole.

It needs chromium, and a Python that has playwright: `python -m venv V && V/bin/pip install playwright`.
"""

import contextlib
import gzip
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.tables import finish, options, show

BROWSER = Path(__file__).with_name("console_browser.py")
STATIC = Path(__file__).resolve().parents[1] / "serving" / "console" / "static"
PACE = 50
"""Steps a second of CartPole in its own time."""
READY_S = 60.0


@contextlib.contextmanager
def serving(http_port: int) -> Iterator[str]:
    """Run a service with the bundled policies; the value is its address."""
    address = f"http://127.0.0.1:{http_port}"
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "polserve", "serve", "--grpc-port", "0", "--http-port", str(http_port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"},
    )
    try:
        until = time.monotonic() + READY_S
        while time.monotonic() < until:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/readyz", timeout=1):  # noqa: S310
                break
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(15)


def main() -> None:
    """Measure, and print a table."""
    parser = options(__doc__ or "")
    parser.add_argument("--python", required=True, help="a Python that has playwright")
    parser.add_argument("--http-port", type=int, default=18080, help="a free port")
    arguments = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("expected the program chromium, found none; apt-get install chromium")
    rounds = 3 if arguments.quick else 9
    with serving(arguments.http_port) as address:
        command = [arguments.python, str(BROWSER), chromium, address, str(rounds)]
        result = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    if result.returncode != 0:
        raise SystemExit(result.stderr[-2000:])
    seen = json.loads(result.stdout)
    files = [path.read_bytes() for path in STATIC.iterdir()]
    paint, bare = (median(seen["paints"][path]) for path in ("/", "/livez"))
    pace = seen["steps_per_second"]
    rows = [
        ("all files of the page", f"{sum(map(len, files)) / 1000:.0f} kB", ""),
        ("the same, compressed", f"{sum(len(gzip.compress(file)) for file in files) / 1000:.0f} kB", ""),
        ("first paint", f"{paint:.0f} ms", f"{bare:.0f} ms: /livez, a page of two letters"),
        ("CartPole", f"{pace:.0f} steps/s", f"{PACE} steps/s: the game's own time"),
        ("a call, as the page sees it", seen["call"], ""),
    ]
    show(f"the console in Chromium, {rounds} rounds", ("what", "console", "baseline"), rows)
    figures = {"bytes": sum(map(len, files)), "paint_ms": paint, "bare_ms": bare, "steps_per_second": pace}
    finish(figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
