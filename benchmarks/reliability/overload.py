"""Several times as many calls as can be answered, at a fixed rate, beside half as many as can be.

The client has a core to itself, since it has more to do than the service can: without that, what the service lost to
the client would look like what it lost to refusing.
"""

import argparse
import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.act import CARTPOLE, Report, write_nature
from benchmarks.arrivals import Arrivals, Plan, arriving
from benchmarks.limit import frames_message
from benchmarks.load import Server, Shape, act_message, polserve, run_h2load

TIMEOUT_S = 1.0


def measure_overload(report: Report, arguments: argparse.Namespace) -> None:
    """Measure a policy whose messages are large, a smaller one of the same kind, and one that takes next to no time."""
    *others, client = sorted(os.sched_getaffinity(0))
    with on_cores(others or [client]), polserve("--policy", "mspacman") as server, on_cores([client]):
        _compare(report, "frames", server, frames_message(server), Shape(8, 1), arguments)
    with tempfile.TemporaryDirectory() as name:
        message = act_message("nature", write_nature(Path(name)))
        with on_cores(others or [client]), polserve("--policies", name) as server, on_cores([client]):
            _compare(report, "slow", server, message, Shape(8, 1), arguments)
    unbatched = ("--policy", "cartpole", "--batching", "off")
    with on_cores(others or [client]), polserve(*unbatched) as server, on_cores([client]):
        _compare(report, "fast", server, CARTPOLE, Shape(8, 8), arguments)


@contextlib.contextmanager
def on_cores(cores: Sequence[int]) -> Iterator[None]:
    """Have what this process does and starts in the block run on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _compare(  # noqa: PLR0913, PLR0917 - one comparison
    report: Report, name: str, server: Server, message: bytes, shape: Shape, arguments: argparse.Namespace
) -> None:
    seconds, times = 8 if arguments.quick else 60, arguments.times
    # Before and after, since other work on the machine changes what can be done.
    before = _capacity(server, message, shape)
    half = arriving(server, message, Plan(before / 2, seconds, timeout_s=TIMEOUT_S))
    beyond = arriving(server, message, Plan(times * before, seconds, timeout_s=TIMEOUT_S))
    capacity = (before + _capacity(server, message, shape)) / 2
    title = f"{name} policy, {beyond.n_due / seconds / capacity:.1f} times capacity"
    report.line(f"{name}_goodput", f"{title}: good answers a second", beyond.good_per_s, capacity, ">= 0.9", "/s")
    report.line(f"{name}_p99", "its p99, to that at half load", beyond.p99_ms(), half.p99_ms(), "<= 3")
    report.line(f"{name}_refused_p50", "refusals: median time", _refused_ms(beyond), beyond.p99_ms(), "")
    report.figures[f"{name}_client_behind_s"] = beyond.behind_s
    print(f"{name}: half {half.statuses}, {times:g} times {beyond.statuses}", flush=True)
    if beyond.behind_s > TIMEOUT_S / 2:
        print(f"{name}: the client was late by up to {beyond.behind_s:.1f} s; its figures tell nothing of the service")


def _capacity(server: Server, message: bytes, shape: Shape) -> float:
    """Return the calls a second that are answered in a closed loop."""
    seconds = 4
    latencies = run_h2load(server, message, shape, "-D", str(seconds), "--warm-up-time", "1")
    return len(latencies) / seconds


def _refused_ms(beyond: Arrivals) -> float:
    found = sorted(beyond.refusal_latencies_s)
    return 1000 * found[len(found) // 2] if found else 0.0
