"""A CartPole action over HTTP in JSON, beside an empty echo of `grpc.server`; and probes beside clients that dawdle.

CPU of the server for a call, by h2load over HTTP/1.1. uvicorn alone, and with Starlette, answers the body
that it reads. The probes come while 500 connections are half open, and 50 send a byte of a body a second.
"""

import contextlib
import json
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from statistics import median

from benchmarks.act import CARTPOLE, Report
from benchmarks.limit import Probe
from benchmarks.load import Server, Shape, polserve, require_h2load, rival
from benchmarks.tables import finish, options, show

OBSERVATION = [0.01, 0.02, 0.03, 0.04]
ACT = ("/v1/policies/cartpole:act", {"observation": OBSERVATION})
TENSOR = {"name": "observation", "datatype": "FP32", "shape": [1, 4], "data": OBSERVATION}
INFER = ("/v2/models/cartpole/infer", {"inputs": [TENSOR], "outputs": [{"name": "action"}]})
SHAPES = (Shape(64, 1), Shape(1, 1))
HALF_OPEN, SLOW = 500, 50
ASKED_MS = 100.0

Asked = tuple[str, object]
"""A path, and what is posted to it."""


def post(port: int, asked: Asked, shape: Shape, calls: int) -> None:
    """Post something so many times by h2load; SystemExit where one failed."""
    path, said = asked
    with tempfile.NamedTemporaryFile("w") as body:
        body.write(json.dumps(said))
        body.flush()
        command = ["h2load", "--h1", "-n", str(calls), "-c", str(shape.connections), "-d", body.name]
        command += ["-H", "content-type: application/json", f"http://127.0.0.1:{port}{path}"]
        output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600).stdout  # noqa: S603
    if f" {calls} succeeded, 0 failed" not in output:
        raise SystemExit(f"some calls failed:\n{output}")


def get(port: int, path: str) -> bytes:
    """Get a page over a new connection."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as page:
        content: bytes = page.read()
        return content


def cpu_ms(server: Server, port: int, asked: Asked, shape: Shape, calls: int) -> float:
    """Return the CPU of the server for a call."""
    post(port, asked, shape, max(calls // 10, shape.connections))
    before = server.cpu_s()
    post(port, asked, shape, calls)
    return 1000 * (server.cpu_s() - before) / calls


def compare(report: Report, rounds: int, calls: int) -> None:
    """Measure calls in JSON, uvicorn alone, and the echo, in turns."""
    with (
        polserve() as ours,
        rival("uvicorn") as alone,
        rival("starlette") as framework,
        rival("echo-threads") as echo,
    ):
        for shape in SHAPES:
            n = calls if shape.connections > 1 else calls // 4
            as_grpc = Shape(8, 8) if shape.connections > 1 else shape
            runs: dict[str, list[float]] = {name: [] for name in ("act", "infer", "uvicorn", "starlette", "echo")}
            for _ in range(rounds):
                runs["act"].append(cpu_ms(ours, ours.http_port, ACT, shape, n))
                runs["infer"].append(cpu_ms(ours, ours.http_port, INFER, shape, n))
                runs["uvicorn"].append(cpu_ms(alone, alone.port, ACT, shape, n))
                runs["starlette"].append(cpu_ms(framework, framework.port, ACT, shape, n))
                runs["echo"].append(echo.drive(CARTPOLE, as_grpc, n).cpu_ms)
            found = {name: median(each) for name, each in runs.items()}
            for name, title in (("act", "/v1/policies/cartpole:act"), ("infer", "/v2/models/cartpole/infer")):
                what = f"{title}, CPU per call, {shape.connections} connections, to an empty echo"
                report.line(f"rest_{name}_{shape.connections}", what, found[name], found["echo"], "<= 1.0")
            for name, title in (("uvicorn", "uvicorn alone"), ("starlette", "uvicorn and Starlette")):
                what = f"{title}, CPU per call, {shape.connections} connections, to an empty echo"
                report.line(f"{name}_{shape.connections}", what, found[name], found["echo"], "")


@contextlib.contextmanager
def dawdling(port: int) -> Iterator[None]:
    """Hold connections that are half open, and others that send a byte a second."""
    is_over = threading.Event()
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(HALF_OPEN + SLOW)]
        for connection in opened[:HALF_OPEN]:
            connection.sendall(b"GET /metr")
        slow = opened[HALF_OPEN:]
        for connection in slow:
            connection.sendall(b"POST /v1/policies/cartpole:act HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")

        def trickle() -> None:
            while not is_over.wait(1.0):
                for connection in slow:
                    with contextlib.suppress(OSError):  # it was given up
                        connection.sendall(b" ")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()


def compare_probes(report: Report, seconds: float) -> None:
    """Measure how long probes and scrapes take, alone and beside clients that dawdle."""
    with polserve() as server:
        found: dict[str, dict[str, float]] = {}
        for name, held in (("alone", contextlib.nullcontext()), ("beside", dawdling(server.http_port))):
            with held:
                probes = {path: Probe(partial(get, server.http_port, path)) for path in ("/readyz", "/metrics")}
                for probe in probes.values():
                    probe.start()
                time.sleep(seconds)
                found[name] = {path: probe.p99_ms() for path, probe in probes.items()}
    for path in ("/readyz", "/metrics"):
        title = f"{path}, p99, beside {HALF_OPEN} half-open and {SLOW} slow connections, to {ASKED_MS:g} ms"
        report.line(f"dawdling{path.replace('/', '_')}", title, found["beside"][path], ASKED_MS, "<= 1.0")
        report.line(f"alone{path.replace('/', '_')}", "the same without them", found["alone"][path], ASKED_MS, "")


def main() -> None:
    """Measure and print."""
    arguments = options(__doc__ or "").parse_args()
    require_h2load()
    report = Report()
    compare(report, 1 if arguments.quick else 3, 4_000 if arguments.quick else 20_000)
    compare_probes(report, 4 if arguments.quick else 8)
    show("over HTTP", ("what", "ours", "to", "ratio", "asked"), report.rows)
    finish(report.figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
