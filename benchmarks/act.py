"""What `polserve serve` adds to its stack: Act beside an empty `grpc.server` echo, and beside ONNX Runtime alone.

Each line compares two sides that take turns in this run; CPU of the server for a call.
"""

import contextlib
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import oip
from benchmarks.graphs import model_ms, session_ms, write_untrained
from benchmarks.load import (
    Measured,
    Server,
    Shape,
    act_message,
    polserve,
    process_cpu_s,
    require_h2load,
    rival,
    run_h2load,
)
from benchmarks.mixed import ALLOWED_MIB, ask_first, ask_mixed
from benchmarks.native import CannotBuild, native_echo
from benchmarks.tables import finish, options, show
from polserve.protos.shared.names import MODEL_FILE
from polserve.serving.policy import Policy
from polserve.serving.settings.settings import BUNDLED_POLICIES
from polserve.training.learning.hyperparameters import NetworkConfig
from polserve.training.learning.networks import GreedyPolicy, ValueNetwork

FRAMES = (4, 88, 80)
EIGHT = Shape(8, 8)
TWICE = Shape(16, 8)
N_BATCH = 1024
N_LARGE = 100_000
TURNS = 15
"""Short turns of two workers and of two services: their median tells more than that of a few long ones."""
TURN_CALLS = 8_000
"""Calls of a turn, for each process."""
SETTLED_S = 3
"""Time after which the service has let go of what was asked."""

OBSERVATION = np.array([0.01, 0.02, 0.03, 0.04], np.float32)
CARTPOLE = act_message("cartpole", OBSERVATION)
BATCH = np.random.default_rng(0).normal(0, 0.1, (N_BATCH, 4)).astype(np.float32)
LARGE = np.random.default_rng(0).normal(0, 0.1, (N_LARGE, 4)).astype(np.float32)

Side = tuple[Server, bytes, Shape, int]
"""A server, what it is asked, how, and how many times."""


def write_nature(folder: Path) -> np.ndarray:
    """Write an untrained version of the Nature network into folder/nature/1; the value is an observation for it."""
    network = ValueNetwork(NetworkConfig(hidden_sizes=(512,)), FRAMES, 9)
    return write_untrained(folder, "nature", GreedyPolicy(network), FRAMES)


class Report:
    """Lines of the table, and the figures."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, ...]] = []
        self.figures: dict[str, float] = {}

    def line(self, name: str, title: str, ours: float, theirs: float, bound: str, unit: str = "ms") -> None:  # noqa: PLR0913, PLR0917 - a row of the table
        """Print a ratio and what it must keep to."""
        self.figures[name] = ours / theirs
        values = (f"{value:.3f} {unit}" for value in (ours, theirs))
        self.rows.append((title, *values, f"{ours / theirs:.2f}", bound))


def take_turns(sides: Sequence[Side], rounds: int) -> list[Measured]:
    """Return the medians of each side, after rounds in turns."""
    runs: list[list[Measured]] = [[] for _ in sides]
    for _ in range(rounds):
        for measured, (server, message, shape, calls) in zip(runs, sides, strict=True):
            measured.append(server.drive(message, shape, calls))
    fields = ("cpu_ms", "p50_ms", "p99_ms", "calls_per_s")
    return [Measured(*(median(getattr(one, field) for one in measured) for field in fields)) for measured in runs]


def compare_echo(report: Report, rounds: int, calls: int) -> None:
    """Act with one observation beside an empty echo of grpc.server, and one in C++ gRPC where that can be built."""
    with contextlib.ExitStack() as stack:
        sides = {"ours": stack.enter_context(polserve()), "public": stack.enter_context(polserve("--front", "grpcio"))}
        sides["echo"] = stack.enter_context(rival("echo-threads"))
        try:
            sides["native"] = stack.enter_context(native_echo())
        except CannotBuild as reason:
            print(reason)
        sides["ours"].ask(CARTPOLE)
        for shape in (EIGHT, Shape(1, 1), Shape(32, 10)):
            n = calls if shape.connections > 1 else calls // 4
            turns = take_turns([(side, CARTPOLE, shape, n) for side in sides.values()], rounds)
            _report_echo(report, shape, dict(zip(sides, turns, strict=True)))


def _report_echo(report: Report, shape: Shape, measured: Mapping[str, Measured]) -> None:
    """Report what was measured at one shape of load; "native" may be missing."""
    act, plain, empty = (measured[side] for side in ("ours", "public", "echo"))
    bound = {"8x8": "<= 0.15", "1x1": "<= 0.55"}.get(str(shape), "")
    name = f"act_{shape}"
    report.line(f"{name}_cpu", f"Act, CPU per call, {shape}, to an empty echo", act.cpu_ms, empty.cpu_ms, bound)
    bound = "<= 1.5" if shape is EIGHT else ""
    report.line(f"{name}_p99", f"Act, p99, {shape}, to an empty echo", act.p99_ms, empty.p99_ms, bound)
    title = f"--front grpcio, CPU per call, {shape}, to an empty echo"
    report.line(f"public_{shape}_cpu", title, plain.cpu_ms, empty.cpu_ms, "")
    if "native" in measured:
        title = f"Act, CPU per call, {shape}, to an empty echo in C++ gRPC"
        report.line(f"native_{shape}_cpu", title, act.cpu_ms, measured["native"].cpu_ms, bound)


def compare_oip(report: Report, rounds: int, calls: int) -> None:
    """ModelInfer with one observation beside an empty echo of grpc.server."""
    with polserve() as ours, rival("echo-threads") as echo:
        infer = replace(ours, method=oip.METHOD)
        for name, message in (("raw", oip.RAW), ("typed", oip.MESSAGE)):
            infer.ask(message)
            measured, empty = take_turns([(infer, message, EIGHT, calls), (echo, message, EIGHT, calls)], rounds)
            title = f"ModelInfer, {name} contents, CPU per call, {EIGHT}, to an empty echo"
            report.line(f"oip_{name}_cpu", title, measured.cpu_ms, empty.cpu_ms, "<= 0.25")


def compare_batch(report: Report, rounds: int, calls: int) -> None:
    """Measure large batches beside the model alone, on one thread as in the service, at the same time."""
    model = (BUNDLED_POLICIES / "cartpole" / "1" / MODEL_FILE).read_bytes()
    with polserve() as ours, ThreadPoolExecutor(1) as driver:
        for name, rows, shape, n, bound in (
            ("batch", BATCH, EIGHT, calls // 4, ">= 0.9"),
            ("batch_large", LARGE, Shape(1, 1), max(20, calls // 200), ">= 1.0"),
        ):
            message = act_message("cartpole", rows)
            ours.ask(message)
            cpu, alone = [], []
            for _ in range(rounds):
                driven = driver.submit(ours.drive, message, shape, n)
                alone.append(session_ms(model, rows, driven.done))
                cpu.append(driven.result().cpu_ms)
            title = f"observations per CPU second, batches of {len(rows):,}, to session.run"
            report.line(name, title, len(rows) / median(cpu), len(rows) / median(alone), bound, "per ms")


def compare_nature(report: Report, rounds: int, calls: int) -> None:
    """Measure a convolutional network beside the model and an echo with as many bytes, and batched beside unbatched."""
    with tempfile.TemporaryDirectory() as folder:
        observation = write_nature(Path(folder))
        policy = Policy.load("nature", "1", Path(folder) / "nature" / "1")
        message = act_message("nature", observation)
        served = ("--policies", folder)
        with (
            polserve(*served) as ours,
            polserve(*served, "--batching", "off") as unbatched,
            rival("echo-threads") as echo,
        ):
            ours.ask(message)
            one, n = Shape(1, 1), calls // 8
            cpu, floor = [], []
            for _ in range(rounds):
                act, empty = take_turns([(ours, message, one, n), (echo, message, one, n)], 1)
                cpu.append(act.cpu_ms)
                floor.append(model_ms(policy, observation[np.newaxis]) + 1.1 * empty.cpu_ms)
            title = "Nature network, CPU per call, to session.run + 1.1 echoes"
            report.line("nature_cpu", title, median(cpu), median(floor), "<= 1.0")
            sides = [(side, message, Shape(8, 4), n) for side in (ours, unbatched)]
            together, alone = take_turns(sides, rounds)
            title = "Nature network, 32 in flight, batched to unbatched"
            report.line("nature_batched_cpu", title, together.cpu_ms, alone.cpu_ms, "<= 0.8")


def compare_workers(report: Report) -> None:
    """Two workers beside two services of one each, all under load at the same time: CPU for a call, how it spreads.

    Whatever else the machine does falls on both sides, and each has two processes that want to run.
    """
    ratios, spent = [], [0.0, 0.0]
    with polserve("--workers", "2") as two, polserve() as one, polserve() as other:
        loads = ((two, TWICE, 2 * TURN_CALLS), (one, EIGHT, TURN_CALLS), (other, EIGHT, TURN_CALLS))
        drive_together(loads)
        for _ in range(TURNS):
            of_each = drive_together(loads)
            spent = [so_far + of_each[pid] for so_far, pid in zip(spent, two.pids, strict=True)]
            of_two, of_ones = (sum(of_each[pid] for pid in pids) for pids in (two.pids, (*one.pids, *other.pids)))
            ratios.append(of_two / of_ones)
        batch_of_two, batch_of_one = _mean_batch(two), (_mean_batch(one) + _mean_batch(other)) / 2
        of_two, of_one = two.resident_mib(), one.resident_mib()
    ratio, share = median(ratios), max(spent) / sum(spent)
    report.line(
        "workers_cpu", f"two workers, CPU per call, to two services; median of {TURNS}", ratio, 1, "<= 1.05", ""
    )
    title = "mean batch of a worker of two, to one service: small batches cost more CPU for a call"
    report.line("workers_batch", title, batch_of_two, batch_of_one, "", "")
    title = "the busier of two workers, its share of their busy time, to a half"
    report.line("workers_share", title, share, 0.5, "", "")
    # With cores enough it is the busier worker that limits the calls a second.
    title = "two workers, calls per second of the busier's time, to one service"
    report.line("workers_rate", title, 1 / (share * ratio), 1, ">= 1.9", "")
    report.line("resident", "resident memory of a worker of two, to one alone", of_two, of_one, "< 150 MB", "MiB")
    report.figures["resident_mib"] = max(of_two, of_one)


def _mean_batch(server: Server) -> float:
    return server.sample("polserve_batch_size_sum") / server.sample("polserve_batch_size_count")


def drive_together(loads: Sequence[tuple[Server, Shape, int]]) -> dict[int, float]:
    """Make so many calls to each server, to all at the same time; return the CPU seconds that each process took."""
    pids = [pid for server, _, _ in loads for pid in server.pids]
    before = {pid: process_cpu_s(pid) for pid in pids}
    with ThreadPoolExecutor() as drivers:
        for driven in [drivers.submit(run_h2load, one, CARTPOLE, shape, "-n", str(n)) for one, shape, n in loads]:
            driven.result()
    return {pid: process_cpu_s(pid) - before[pid] for pid in pids}


def compare_memory(report: Report, calls: int) -> None:
    """Memory after many calls beside memory after a tenth of them, and what is kept of requests of every size."""
    with polserve() as ours:
        ours.drive(CARTPOLE, EIGHT, calls // 10)
        early = ours.resident_mib()
        ours.drive(CARTPOLE, EIGHT, calls - calls // 10)
        title = f"memory after {calls:,} calls, to after {calls // 10:,}"
        report.line("memory", title, ours.resident_mib(), early, "<= 1.02", "MiB")
    with polserve() as ours:
        target = f"127.0.0.1:{ours.port}"
        ask_first(target)
        before = ours.resident_mib()
        ask_mixed(target)
        time.sleep(SETTLED_S)
        title = "memory kept after requests of every size and kind, to 64 MiB and twice the largest message"
        report.line("memory_mixed", title, ours.resident_mib() - before, ALLOWED_MIB, "<= 1", "MiB")


def main() -> None:
    """Run every comparison, or those that are named."""
    parser = options(__doc__ or "")
    comparisons: dict[str, Callable[[Report, Any], None]] = {
        "echo": lambda report, a: compare_echo(report, a.rounds, a.calls),
        "oip": lambda report, a: compare_oip(report, a.rounds, a.calls),
        "batch": lambda report, a: compare_batch(report, a.rounds, a.calls),
        "nature": lambda report, a: compare_nature(report, a.rounds, a.calls),
        "workers": lambda report, _: compare_workers(report),
        "memory": lambda report, a: compare_memory(report, 20_000 if a.quick else 200_000),
    }
    parser.add_argument("only", nargs="*", metavar="COMPARISON", help=f"of {', '.join(comparisons)}; default all")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each side, of which the median is taken")
    arguments = parser.parse_args()
    if unknown := set(arguments.only) - comparisons.keys():
        parser.error(f"no comparison {', '.join(sorted(unknown))}; there are {', '.join(comparisons)}")
    arguments.calls = 4_000 if arguments.quick else 20_000
    arguments.rounds = 1 if arguments.quick else arguments.rounds
    require_h2load()
    report = Report()
    for name in arguments.only or comparisons:
        comparisons[name](report, arguments)
    show(
        f"polserve serve, medians of {arguments.rounds}",
        ("what", "ours", "theirs", "ratio", "asked"),
        report.rows,
    )
    finish(report.figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
