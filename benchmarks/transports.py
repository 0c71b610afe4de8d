"""Three ways in which grpcio can answer a unary call: an empty answer, and a CartPole network behind it.

The ground of docs/adr/0005. CPU of the server for a call, and latency, at (connections x streams).
"""

from statistics import median

import numpy as np

from benchmarks.load import Measured, Shape, act_message, require_h2load, rival
from benchmarks.tables import finish, options, show

WAYS = ("threads", "aio", "callback")
SHAPES = (Shape(1, 1), Shape(8, 8), Shape(32, 10))
MESSAGE = act_message("cartpole", np.array([0.01, 0.02, 0.03, 0.04], np.float32))


def main() -> None:
    """Measure each way in turns and print the medians."""
    arguments = options(__doc__ or "").parse_args()
    require_h2load()
    rounds, calls = (1, 4_000) if arguments.quick else (5, 20_000)
    kinds = [f"{what}-{way}" for what in ("echo", "act") for way in WAYS]
    runs: dict[tuple[str, Shape], list[Measured]] = {(kind, shape): [] for kind in kinds for shape in SHAPES}
    for _ in range(rounds):
        for kind in kinds:
            with rival(kind) as server:
                server.ask(MESSAGE)
                for shape in SHAPES:
                    n = calls if shape.connections > 1 else calls // 4
                    runs[kind, shape].append(server.drive(MESSAGE, shape, n))
    rows = []
    figures = {}
    for (kind, shape), measured in runs.items():
        cpu, p99 = (median(getattr(one, name) for one in measured) for name in ("cpu_ms", "p99_ms"))
        rate = median(one.calls_per_s for one in measured)
        rows.append((kind, str(shape), f"{cpu:.3f} ms", f"{p99:.2f} ms", f"{rate:,.0f}/s"))
        figures[f"{kind}_{shape}_cpu_ms"] = cpu
    show(f"a unary call, medians of {rounds}", ("server", "load", "CPU per call", "p99", "calls"), rows)
    finish(figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
