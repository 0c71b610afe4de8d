"""Response curves fitted to the same simulated histories by polserve and by PyMC-Marketing, beside the truth.

PyMC-Marketing runs in an interpreter of its own:
`python -m venv V && V/bin/pip install pymc-marketing==0.19 nutpie`, and then `--rival-python V/bin/python`.
Of each kind of history and each side the program prints how many nominal 90 % intervals of what a steady spend sells
hold the truth, how wide they are, how far their middles are from the truth, and the CPU time of a fit.
"""

import contextlib
import json
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.histories import CONCAVE, Kind, Simulated, simulate
from benchmarks.response import POINTS
from benchmarks.tables import finish, options, show
from polserve.training.tasks.adbudget.curves.fit import Fit, fit_response
from polserve.training.tasks.adbudget.history.history import SPEND_SUFFIX, write_history

HISTORIES = 3
NOTHING = 0.01
"""Of an account's sales: an interval that begins below it holds a truth of 0, which no positive prior reaches."""
MOST_R_HAT = 1.05
"""Of a rival's fit whose chains agree."""
AT_MEAN = POINTS.index(1.0)
COLUMNS = (
    "kind of history",
    "fitted by",
    "curves",
    *(f"truth held, {point:g} x" for point in POINTS),
    "median width",
    "median error",
    "CPU s of a fit",
)
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fitted:
    """One side's fit of one history beside the truth."""

    intervals: Floats  # (channels, points, 3): low end, middle and high end, sales a day
    truth: Floats  # (channels, points)
    nothing: float
    """Sales a day that count as none."""
    cpu_s: float

    @property
    def is_held(self) -> NDArray[np.bool_]:
        """Whether each interval holds the truth (channels, points)."""
        low, _, high = np.moveaxis(self.intervals, -1, 0)
        reach = np.where(self.truth > 0, self.truth, self.nothing)
        return np.asarray((low <= reach) & (high >= self.truth))

    @property
    def relative(self) -> Floats:
        """Width of the interval and error of its middle at the mean spend, to the truth (sellers, 2)."""
        truth, interval = self.truth[:, AT_MEAN], self.intervals[:, AT_MEAN]
        low, middle, high = interval[truth > 0].T
        return np.stack([high - low, np.abs(middle - truth[truth > 0])], axis=1) / truth[truth > 0, None]


def fit_both(kind: Kind, seed: int, rival: "subprocess.Popen[str]") -> tuple[Fitted, Fitted, float]:
    """Fits of one history by polserve and by the rival, and the largest R-hat of the latter."""
    simulated = simulate(kind, seed)
    history = simulated.history
    used = [spends[spends > 0].mean() for spends in history.spends.T]
    spends = np.outer(used, POINTS)
    truth = np.array([[simulated.sales(index, spend) for spend in at] for index, at in enumerate(spends)])
    started = time.process_time()
    own = fit_response(history, np.random.default_rng(seed))
    cpu_s = time.process_time() - started
    nothing = NOTHING * float(history.sales.mean())
    answer = _ask(rival, simulated, spends)
    theirs = np.array(list(answer["intervals"].values()))
    return (
        Fitted(_intervals(own, spends), truth, nothing, cpu_s),
        Fitted(theirs, truth, nothing, answer["cpu_s"]),
        answer["r_hat"],
    )


def _intervals(fit: Fit, spends: Floats) -> Floats:
    """Intervals (channels, points, 3) of the fitted curves at `spends` (channels, points)."""
    of_each = []
    for curve, at in zip(fit.curves, spends, strict=True):
        rows = np.stack([np.interp(at, curve.spends, edge) for edge in (curve.low, curve.sales, curve.high)], axis=1)
        rows[AT_MEAN] = curve.at_mean
        of_each.append(rows)
    return np.array(of_each)


def _ask(rival: "subprocess.Popen[str]", simulated: Simulated, spends: Floats) -> dict[str, Any]:
    """Answer of the rival to a history, of steady `spends` (channels, points)."""
    if rival.stdin is None or rival.stdout is None:
        raise RuntimeError("the rival has no pipes")
    names = [f"{channel}{SPEND_SUFFIX}" for channel in simulated.history.channels]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.csv"
        write_history(path, simulated.history)
        asked = {"path": str(path), "spends": dict(zip(names, spends.tolist(), strict=True))}
        with contextlib.suppress(BrokenPipeError):  # it ended, and the line that it does not answer tells so
            print(json.dumps(asked), file=rival.stdin, flush=True)
        line = rival.stdout.readline()
    if not line:
        with contextlib.suppress(BrokenPipeError):
            rival.stdin.close()
        raise SystemExit(f"error: the rival ended with exit status {rival.wait()}; it needs pymc-marketing and nutpie")
    answer: dict[str, Any] = json.loads(line)
    return answer


def row(kind: str, side: str, fits: list[Fitted]) -> tuple[list[str], dict[str, float]]:
    """Row of the table, and its figures by name."""
    held = np.concatenate([fit.is_held for fit in fits])
    width, error = np.median(np.concatenate([fit.relative for fit in fits]), axis=0)
    cpu_s = float(np.median([fit.cpu_s for fit in fits]))
    cells = [kind, side, str(len(held)), *(f"{share:.0%}" for share in held.mean(axis=0)), f"{width:.0%}"]
    figures = {"held": float(held.mean()), "width": float(width), "error": float(error), "cpu_s": cpu_s}
    named = {f"{kind}_{side}_{name}": value for name, value in figures.items()}
    return [*cells, f"{error:.1%}", f"{cpu_s:.1f}"], named


def main() -> None:
    """Simulate, fit by both, and print the table."""
    parser = options((__doc__ or "").splitlines()[0])
    parser.add_argument("--rival-python", required=True, help="a Python that has pymc-marketing and nutpie")
    parser.add_argument("--histories", type=int, help=f"histories of each kind [{HISTORIES}]")
    parser.add_argument("--kinds", nargs="+", choices=CONCAVE, default=CONCAVE, help="kinds of histories [all]")
    given = parser.parse_args()
    kinds = CONCAVE[:1] if given.quick else given.kinds
    histories = given.histories or (1 if given.quick else HISTORIES)
    command = [given.rival_python, "-W", "ignore", str(Path(__file__).with_name("marketing_mix.py"))]
    fits: dict[tuple[str, str], list[Fitted]] = {}
    r_hats: list[float] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as rival:  # noqa: S603
        for seed in range(histories):
            for kind in kinds:
                own, theirs, r_hat = fit_both(kind, seed, rival)
                r_hats.append(r_hat)
                for side, fitted in (("polserve", own), ("pymc-marketing", theirs)):
                    for name in (kind, "all"):
                        fits.setdefault((name, side), []).append(fitted)
    rows: list[list[str]] = []
    figures: dict[str, float] = {"not_converged": sum(r_hat > MOST_R_HAT for r_hat in r_hats)}
    for name in (*kinds, "all"):
        for side in ("polserve", "pymc-marketing"):
            cells, named = row(name, side, fits[name, side])
            rows.append(cells)
            figures |= named
    show("nominal 90 % intervals of response curves, beside PyMC-Marketing", COLUMNS, rows)
    finish(figures, as_json=given.json)


if __name__ == "__main__":
    main()
