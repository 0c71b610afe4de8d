"""A long load with promotions and killed workers: which calls fail, and what grows."""

import argparse
import contextlib
import os
import re
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.act import CARTPOLE, EIGHT, Report
from benchmarks.arrivals import Arrivals, Plan, arriving
from benchmarks.load import ROOT, Server, polserve, run_h2load, workers_of

LOAD = 0.7
PROMOTION_S, KILL_S = 30.0, 60.0
EXPLAINED_S = 2.0
"""Time after a kill in which a call that fails is explained by it: its client may learn late of the end."""
MOST_PER_S = 3_000.0
"""Calls a second, at most: the client shares the two cores with the service."""


@dataclass(slots=True)
class Sizes:
    """Memory and descriptors of a process that is never killed, over time."""

    mib: list[float] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)

    def note(self, pid: int) -> None:
        """Look at the process."""
        status = Path(f"/proc/{pid}/status").read_text()
        self.mib.append(int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024)
        self.descriptors.append(len(list(Path(f"/proc/{pid}/fd").iterdir())))

    @staticmethod
    def ends(values: list[float]) -> tuple[float, float]:
        """Return the mean of the last fifth, and of the fifth after the warm-up, which is the first fifth."""
        n = max(1, len(values) // 5)
        first, last = values[n : 2 * n] or values, values[-n:]
        return sum(last) / len(last), sum(first) / len(first)


class Disturbance(threading.Thread):
    """Promotes, kills and looks, until it is told to stop."""

    def __init__(self, folder: Path, supervisor: int, kept: int, times: tuple[float, float]) -> None:
        """Kill all workers but `kept`; `times` are between two promotions, and between two kills."""
        super().__init__()
        self.stopped = threading.Event()
        self.killed_at: list[float] = []
        self.n_promotions = 0
        self.sizes = {"supervisor": Sizes(), "worker": Sizes()}
        self._home, self._supervisor, self._kept = folder / "cartpole", supervisor, kept
        self._promotion_s, self._kill_s = times

    def run(self) -> None:
        """Disturb the service."""
        promoted = killed = time.monotonic()
        while not self.stopped.wait(0.25):
            now = time.monotonic()
            self.sizes["supervisor"].note(self._supervisor)
            self.sizes["worker"].note(self._kept)
            if now - promoted > self._promotion_s:
                promoted = now
                self._promote()
            if now - killed > self._kill_s:
                killed = now
                self._kill()

    def _promote(self) -> None:
        self.n_promotions += 1
        versions = sorted(int(path.name) for path in self._home.iterdir() if path.name.isdigit())
        new = str(versions[-1] + 1)
        shutil.copytree(self._home / str(versions[-1]), self._home / f".{new}")
        (self._home / f".{new}").rename(self._home / new)
        for old in versions[:-1]:
            shutil.rmtree(self._home / str(old))

    def _kill(self) -> None:
        for pid in workers_of(self._supervisor):
            if pid != self._kept:
                self.killed_at.append(time.monotonic())
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def measure_soak(report: Report, arguments: argparse.Namespace) -> None:
    """Load a service with two workers for a while."""
    seconds = 40.0 if arguments.quick else 60 * arguments.minutes
    times = (5.0, 10.0) if arguments.quick else (PROMOTION_S, KILL_S)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "cartpole").mkdir()
        shutil.copytree(ROOT / "policies" / "cartpole" / "1", folder / "cartpole" / "1")
        with polserve("--policies", name, "--workers", "2", "--poll-interval", "0.5") as server:
            rate = min(LOAD * len(run_h2load(server, CARTPOLE, EIGHT, "-D", "3")) / 3, MOST_PER_S)
            with disturbed(folder, server, times) as disturbance:
                found = arriving(server, CARTPOLE, Plan(rate, seconds, connections=8, timeout_s=10.0, warm_up_s=5.0))
    _tell(report, found, disturbance, rate)


@contextlib.contextmanager
def disturbed(folder: Path, server: Server, times: tuple[float, float]) -> Iterator[Disturbance]:
    """Disturb a service until the block is left."""
    supervisor = int(Path(f"/proc/{server.pids[0]}/stat").read_text().rsplit(")", 1)[1].split()[1])
    disturbance = Disturbance(folder, supervisor, server.pids[0], times)
    disturbance.start()
    try:
        yield disturbance
    finally:
        disturbance.stopped.set()
        disturbance.join()


def _tell(report: Report, found: Arrivals, disturbance: Disturbance, rate: float) -> None:
    unexplained = [
        at for at in found.failed_at if not any(0 <= at - kill <= EXPLAINED_S for kill in disturbance.killed_at)
    ]
    n_kills, n_promotions = len(disturbance.killed_at), disturbance.n_promotions
    title = f"soak at {rate:,.0f} calls/s, {n_promotions} promotions, {n_kills} kills: calls answered"
    report.line("soak_answered", title, len(found.latencies_s), found.n_due, "", "calls")
    failed = len(found.failed_at)
    explained = (failed - len(unexplained), failed) if failed else (1, 1)
    report.line("soak_explained", f"{failed} calls failed: explained by a kill", *explained, ">= 1", "calls")
    for name, sizes in disturbance.sizes.items():
        report.line(
            f"soak_{name}_mib", f"memory of the {name}, to that after warm-up", *sizes.ends(sizes.mib), "", "MiB"
        )
        last, first = sizes.ends([float(n) for n in sizes.descriptors])
        report.line(f"soak_{name}_fds", f"descriptors of the {name}, likewise", last, first, "", "")
    print(f"soak: {found.statuses}", flush=True)
