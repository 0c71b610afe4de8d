"""kill -9 at random moments of the start, of a rollout and while calls are answered: is it back, and when."""

import argparse
import itertools
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import grpc
import numpy as np

from benchmarks.act import CARTPOLE, Report
from benchmarks.load import ENVIRONMENT, METHOD, PYTHON, ROOT, free_port
from polserve.protos.polserve.v1 import policy_pb2 as pb

MOMENTS = ("start", "rollout", "serving")
BACK_S = 60.0
"""Time after which a service that does not answer is taken for lost."""
CHILDREN_S = 10.0
"""Time for the children of a killed service to end by themselves."""


class Service:
    """A service on one folder and one port, which is killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, http_port = free_port(), free_port()
        ports = ("--grpc-port", str(self.port), "--http-port", str(http_port))
        self._command = [*PYTHON, "polserve", "serve", *ports, "--policies", str(folder), "--poll-interval", "0.2"]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(self._command, stdout=quiet, stderr=quiet, env=ENVIRONMENT, cwd=ROOT)  # noqa: S603

    def wait(self) -> tuple[float, str]:
        """Return the seconds until a call is answered, and the version that answered; infinite where none is."""
        started = time.monotonic()
        while time.monotonic() < started + BACK_S:
            with grpc.insecure_channel(f"127.0.0.1:{self.port}") as channel:
                call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{METHOD}")
                try:
                    answer = pb.ActResponse.FromString(call(CARTPOLE, timeout=2))
                except grpc.RpcError:
                    time.sleep(0.02)
                else:
                    return time.monotonic() - started, answer.version
        return float("inf"), ""

    def kill(self) -> int:
        """Kill it; return how many of its children were left after a while."""
        if self.process is None:
            return 0
        children = _children(self.process.pid)
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        until = time.monotonic() + CHILDREN_S
        while (left := [pid for pid in children if Path(f"/proc/{pid}").exists()]) and time.monotonic() < until:
            time.sleep(0.05)
        return len(left)


def measure_kills(report: Report, arguments: argparse.Namespace) -> None:
    """Kill a service again and again."""
    n = 6 if arguments.quick else arguments.kills
    rng = random.Random(0)  # noqa: S311 - no secret
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "cartpole").mkdir()
        shutil.copytree(ROOT / "policies" / "cartpole" / "1", folder / "cartpole" / "1")
        service = Service(folder)
        service.start()
        usual_s, _ = service.wait()
        back_s, n_lost, n_left = [], 0, 0
        for i, moment in zip(range(n), itertools.cycle(MOMENTS), strict=False):
            n_left += _strike(service, moment, usual_s, rng, version=str(i + 2))
            service.start()
            took_s, version = service.wait()
            n_lost += not version
            back_s.append(took_s)
        service.kill()
    report.line("kills_back", f"kill -9, {n} times: back with a usable version", n - n_lost, n, ">= 1", "times")
    median_s, longest_s = float(np.median(back_s)), max(back_s)
    report.line("kills_back_s", "median time to be back, to that of a first start", median_s, usual_s, "", "s")
    report.line("kills_longest_s", "longest time to be back, likewise", longest_s, usual_s, "", "s")
    report.figures["kills_children_left"] = n_left


def _strike(service: Service, moment: str, usual_s: float, rng: random.Random, version: str) -> int:
    """Kill a service that runs at such a moment; return how many of its children were left."""
    if moment == "start":
        service.kill()
        service.start()
        time.sleep(rng.uniform(0.0, usual_s))
    elif moment == "rollout":
        home = service.folder / "cartpole"
        versions = sorted(int(path.name) for path in home.iterdir() if re.fullmatch(r"\d+", path.name))
        shutil.copytree(home / str(versions[-1]), home / f".{version}")
        (home / f".{version}").rename(home / version)
        for old in versions[:-1]:
            shutil.rmtree(home / str(old))
        time.sleep(rng.uniform(0.0, 2.0))
    else:
        time.sleep(rng.uniform(0.0, 0.5))
    return service.kill()


def _children(pid: int) -> list[int]:
    """Return the processes whose parent is `pid`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1]) == pid:
                found.append(int(folder.name))
        except OSError:  # it has ended meanwhile
            continue
    return found
