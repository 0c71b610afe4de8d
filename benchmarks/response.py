"""How often the intervals of fitted response curves hold the truth, on histories that are made to mislead.

Histories of nine kinds are simulated and fitted. Of each kind the program prints how many of the nominal 90 %
intervals hold the truth at half, once and one and a half times the mean spend, what the fit says of the curves, and
how far they are from the truth. With --results, a file keeps what was fitted, and a later call goes on where an
earlier one ended.
"""

import json
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.histories import KINDS, Kind, simulate
from benchmarks.tables import finish, options, show
from polserve.training.tasks.adbudget.curves.curve import Curve, Verdict
from polserve.training.tasks.adbudget.curves.fit import fit_response

POINTS = (0.5, 1.0, 1.5)
"""Where the curves are looked at, in mean spends."""
HISTORIES = 200
QUICK_HISTORIES = 3
WORKERS = 2
COLUMNS = (
    "kind of history",
    "histories",
    *(f"truth held, {point:g} x" for point in POINTS),
    "called interval",
    "truth held of those",
    "called confounded",
    "not identified",
    "median error",
)
"""Where the truth is held, at so many times the mean spend; of intervals so called, at the mean spend itself."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A fitted curve beside the truth."""

    verdict: Verdict
    is_held: tuple[bool, ...]
    """Whether the interval holds the truth, at each of `POINTS`."""
    error: float
    """Of the interval's middle at the mean spend, to the truth; infinite where the truth is 0."""


def judge(kind: Kind, seed: int) -> list[Judged]:
    """Simulate a history, fit it, and hold each curve against the truth."""
    simulated = simulate(kind, seed)
    fit = fit_response(simulated.history, np.random.default_rng(seed))
    return [_judged(curve, partial(simulated.sales, index)) for index, curve in enumerate(fit.curves)]


def _judged(curve: Curve, truth: "partial[float]") -> Judged:
    spends = [point * curve.mean_spend for point in POINTS]
    held = []
    for spend in spends:
        low, high = (float(np.interp(spend, curve.spends, edge)) for edge in (curve.low, curve.high))
        held.append(low <= truth(spend) <= high)
    true = truth(curve.mean_spend)
    error = abs(curve.at_mean[1] / true - 1) if true > 0 else float("inf")
    return Judged(curve.verdict, tuple(held), error)


class Results:
    """Fits that were held against the truth, a line of JSON for each history in a file, if there is one."""

    def __init__(self, path: Path | None) -> None:
        """Read what earlier calls left; a last line without an end, which a kill leaves, is dropped.

        Raises:
            SystemExit: a line is no result of this program.
        """
        self._path = path
        self._found: dict[tuple[str, int], list[Judged]] = {}
        whole, _, torn = (path.read_text() if path and path.exists() else "").rpartition("\n")
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                kept = json.loads(line)
                judged = [Judged(each["verdict"], tuple(each["is_held"]), each["error"]) for each in kept["curves"]]
                self._found[kept["kind"], kept["seed"]] = judged
            except (ValueError, TypeError, KeyError) as error:
                raise SystemExit(
                    f"error: {path}, line {number}: no result of this program; give another file"
                ) from error
        if path and torn:
            path.write_text(f"{whole}\n" if whole else "")

    def of(self, kind: Kind, histories: int, pool: ProcessPoolExecutor) -> list[Judged]:
        """Curves of the first `histories` of a kind; `pool` fits those that the file does not have."""
        missing = [seed for seed in range(histories) if (kind, seed) not in self._found]
        for seed, judged in zip(missing, pool.map(partial(judge, kind), missing), strict=True):
            self._found[kind, seed] = judged
            if self._path:
                with self._path.open("a") as file:
                    kept = {"kind": kind, "seed": seed, "curves": [asdict(each) for each in judged]}
                    file.write(json.dumps(kept) + "\n")
        return [each for seed in range(histories) for each in self._found[kind, seed]]


def row(kind: Kind, histories: int, judged: list[Judged]) -> tuple[list[str], dict[str, float]]:
    """Row of the table, and its figures by name."""
    held = np.array([each.is_held for each in judged]).mean(axis=0)
    verdicts = Counter(each.verdict for each in judged)
    called = [each.is_held[1] for each in judged if each.verdict == "interval"]
    errors = np.array([each.error for each in judged if np.isfinite(each.error)])
    shares = {name: verdicts[name] / len(judged) for name in ("interval", "confounded", "not identified")}
    of_called = float(np.mean(called)) if called else float("nan")
    median = float(np.median(errors))
    cells = [kind, str(histories), *(f"{share:.1%}" for share in held), f"{shares['interval']:.0%}", f"{of_called:.1%}"]
    cells += [f"{shares['confounded']:.0%}", f"{shares['not identified']:.0%}", f"{median:.1%}"]
    figures = {f"{kind}_held_at_mean": float(held[1]), f"{kind}_called_interval": shares["interval"]}
    return cells, figures | {f"{kind}_median_error": median}


def main() -> None:
    """Simulate, fit, and print the table."""
    parser = options(__doc__)
    parser.add_argument("--histories", type=int, help=f"histories of each kind [{HISTORIES}]")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="kinds of histories [all]")
    parser.add_argument(
        "--results", type=Path, help="file that keeps what was fitted, for a later call to go on [none]"
    )
    given = parser.parse_args()
    kept = Results(given.results)
    histories = given.histories or (QUICK_HISTORIES if given.quick else HISTORIES)
    rows: list[list[str]] = []
    figures: dict[str, float] = {}
    with ProcessPoolExecutor(WORKERS) as pool:
        for kind in given.kinds:
            cells, of_kind = row(kind, histories, kept.of(kind, histories, pool))
            rows.append(cells)
            figures |= of_kind
    show("nominal 90 % intervals of response curves", COLUMNS, rows)
    finish(figures, as_json=given.json)


if __name__ == "__main__":
    main()
