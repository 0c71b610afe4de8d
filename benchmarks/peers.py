"""CartPole answered by polserve and by others: CPU of the server for a call, 64 in flight, in turns.

The others: a hand-written `grpc.server` and `grpc.aio` server around the same ONNX model, without checks and metrics,
beside Act; and, where they are installed (each in an environment of its own: `--mlserver PYTHON`, `--kserve PYTHON`),
MLServer and KServe with a model of the same ONNX file, beside ModelInfer of the Open Inference Protocol.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks import oip
from benchmarks.load import Measured, Server, Shape, act_message, polserve, require_h2load, rival
from benchmarks.tables import finish, options, show

EIGHT = Shape(8, 8)
CARTPOLE = act_message("cartpole", np.array([0.01, 0.02, 0.03, 0.04], np.float32))


ACT = "polserve, Act"
INFER = "polserve, ModelInfer"
BESIDE = {
    ACT: ACT,
    "grpc.server by hand": ACT,
    "grpc.aio by hand": ACT,
    INFER: INFER,
    "MLServer": INFER,
    "KServe": INFER,
}
"""Which of our calls each server is compared with: the one that it is asked, too."""


@contextlib.contextmanager
def peers(mlserver: Path | None, kserve: Path | None) -> Iterator[dict[str, tuple[Server, bytes]]]:
    """Every server, running, with what it is asked."""
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(polserve())
        sides = {
            ACT: (ours, CARTPOLE),
            "grpc.server by hand": (stack.enter_context(rival("act-threads")), CARTPOLE),
            "grpc.aio by hand": (stack.enter_context(rival("act-aio")), CARTPOLE),
            INFER: (replace(ours, method=oip.METHOD), oip.MESSAGE),
        }
        for name, python in (("MLServer", mlserver), ("KServe", kserve)):
            if python is not None:
                sides[name] = (stack.enter_context(oip.serve(name.lower(), python)), oip.MESSAGE)
        yield sides


def main() -> None:
    """Measure every server in turns and print the medians."""
    parser = options(__doc__ or "")
    parser.add_argument("--mlserver", type=Path, help="a Python that has mlserver and onnxruntime")
    parser.add_argument("--kserve", type=Path, help="a Python that has kserve and onnxruntime")
    arguments = parser.parse_args()
    require_h2load()
    rounds, calls = (1, 4_000) if arguments.quick else (5, 20_000)
    with peers(arguments.mlserver, arguments.kserve) as sides:
        runs: dict[str, list[Measured]] = {name: [] for name in sides}
        for server, message in sides.values():
            if not server.ask(message):
                raise SystemExit("a server answers nothing")
        for _ in range(rounds):
            for name, (server, message) in sides.items():
                runs[name].append(server.drive(message, EIGHT, calls))
    cpu = {name: median(one.cpu_ms for one in measured) for name, measured in runs.items()}
    rows = []
    for name, measured in runs.items():
        p99, rate = median(one.p99_ms for one in measured), median(one.calls_per_s for one in measured)
        times = f"{cpu[name] / cpu[BESIDE[name]]:.1f}"
        rows.append((name, f"{cpu[name]:.3f} ms", times, f"{p99:.1f} ms", f"{rate:,.0f}/s"))
    show(
        f"CartPole, {EIGHT}, medians of {rounds} rounds on {os.cpu_count()} cores",
        ("server", "CPU per call", "times ours", "p99", "calls"),
        rows,
    )
    figures = {name.replace(",", "").replace(" ", "_"): value / cpu[BESIDE[name]] for name, value in cpu.items()}
    finish(figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
