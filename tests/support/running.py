"""Real servers and commands in processes of their own."""

import contextlib
import itertools
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from polserve.serving.addresses import spelled

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""

TIMEOUT_S = 180.0
"""How long a busy machine may take to start what takes a few seconds on a quiet one."""


def free_port() -> int:
    """A port that is free now, and that nobody else is given before a service has bound it.

    It lies below those that the system gives to connections, and among those of this worker of pytest-xdist.
    """
    for _ in range(1_000):
        port = next(_own_ports())
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("expected a free port, got a thousand that are in use")


@cache
def _own_ports() -> Iterator[int]:
    """Ports of this process in turn, beginning at any of them."""
    end = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = range(10_000 + worker, end, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
    begin = random.SystemRandom().randrange(len(ports))  # others may test on this machine, too
    return itertools.cycle([*ports[begin:], *ports[:begin]])


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without what would steer polserve or MLflow, and with `changes`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("POLSERVE_", "MLFLOW_"))}
    quiet = {
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "ORT_DISABLE_TELEMETRY": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight processes that nothing here uses
        "PYTHONUNBUFFERED": "1",
    }
    return {**kept, **quiet, **changes}


@contextlib.contextmanager
def program(
    *arguments: str,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    end: signal.Signals = signal.SIGTERM,
) -> Iterator["subprocess.Popen[str]"]:
    """A Python program that gets `end`, with its children, when the block is left; its output goes to `log`."""
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            env=dict(env or environment()),
            cwd=cwd,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, end)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def polserve(*arguments: str, **changes: str) -> "subprocess.CompletedProcess[str]":
    """A command of the `polserve` program, run to its end, with `changes` to its environment."""
    return subprocess.run(
        [sys.executable, "-m", "polserve", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(**{"COLUMNS": "200", **changes}),
    )


@dataclass(frozen=True)
class Running:
    """A service in a process of its own."""

    process: "subprocess.Popen[str]"
    target: str
    http_url: str
    log: Path

    def ready_page(self) -> tuple[int, str]:
        """Status and text of /readyz."""
        return page(f"{self.http_url}/readyz")

    def ready(self) -> dict[str, Any]:
        """What /readyz says, whatever its status."""
        return dict(json.loads(self.ready_page()[1]))

    def is_up(self) -> bool:
        """Whether it is ready, with every process that it should have."""
        status, text = self.ready_page()
        if status == 0:  # a machine that is busy enough keeps even this page waiting
            return False
        state = json.loads(text)
        workers = state.get("workers", {"up": 1, "of": 1})
        return bool(state["ready"] and workers["up"] == workers["of"])

    def metrics(self) -> str:
        """The page /metrics."""
        return page(f"{self.http_url}/metrics")[1]


@contextlib.contextmanager
def service(
    *options: str,
    folder: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    host: str = "127.0.0.1",
) -> Iterator[Running]:
    """`polserve serve` on free ports, its log and cache in `folder`; it answers HTTP at `host` when this returns."""
    grpc_port, http_port = free_port(), free_port()
    log = folder / f"polserve-{grpc_port}.log"
    ports = ("--grpc-port", str(grpc_port), "--http-port", str(http_port))
    cache = ("--cache-dir", str(folder / ".cache"))  # options may name another
    arguments = ["-m", "polserve", "serve", *ports, *cache, *options]
    with program(*arguments, log=log, env=env, cwd=cwd) as process:
        scheme = "https" if "--tls-cert" in options else "http"
        running = Running(process, spelled(host, grpc_port), f"{scheme}://{spelled(host, http_port)}", log)
        wait_until(lambda: page(f"{running.http_url}/livez")[0] == 200 or process.poll() is not None, log)
        yield running


@contextlib.contextmanager
def started_once(start: Callable[[str], AbstractContextManager[Running]]) -> Iterator[Callable[[str], Running]]:
    """Services by a name, each started when it is first asked for, and ended with the block."""
    with contextlib.ExitStack() as stack:

        @cache
        def service_of(name: str) -> Running:
            running = stack.enter_context(start(name))
            wait_until(running.is_up, running.log)
            return running

        yield service_of


@contextlib.contextmanager
def mlflow_server(folder: Path, port: int | None = None, database: str | None = None) -> Iterator[str]:
    """A real MLflow server on SQLite or another database with its artifacts in `folder`; the value is its address."""
    url = f"http://127.0.0.1:{port or free_port()}"
    command = [
        *("-m", "mlflow", "server", "--host", "127.0.0.1", "--port", url.rsplit(":", 1)[1], "--workers", "1"),
        *("--backend-store-uri", database or f"sqlite:///{folder / 'mlflow.db'}"),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    log = folder / "mlflow-server.log"
    # Killed, since it would take ten seconds to end by itself; what it answered is in its database.
    with program(*command, log=log, end=signal.SIGKILL):
        wait_until(lambda: page(f"{url}/health")[0] == 200, log)
        yield url


def page(url: str) -> tuple[int, str]:
    """Status and text of a page; status 0 where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5, context=_trusting()) as response:  # noqa: S310 - our own address
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def _trusting() -> ssl.SSLContext:
    """TLS that trusts any certificate: that of a service is what other tests look at."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def wait_until(condition: Callable[[], bool], log: Path | None = None) -> None:
    """Return when `condition()` holds; fail with the log's end when it does not for TIMEOUT_S."""
    until = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > until:
            tail = log.read_text()[-3000:] if log else ""
            raise AssertionError(f"still not so after {TIMEOUT_S:.0f} s; {tail}")
        time.sleep(0.05)
