"""The tables of the comparison: returns of each environment, and scores of all together."""

from collections.abc import Iterator, Sequence

from benchmarks.algorithms.learners import SIDES
from benchmarks.algorithms.measures import interquartile
from benchmarks.algorithms.problems import CONTINUOUS, DISCRETE, PROBLEMS, UNITS, Problem
from benchmarks.algorithms.results import Result
from benchmarks.tables import show

Row = tuple[str, ...]


def report(results: Sequence[Result]) -> dict[str, float]:
    """Print both tables; return the scores by name."""
    figures: dict[str, float] = {}
    rows = list(_returns(results, figures))
    titles = [f"{title}: IQM [95 %], runs" for title in SIDES.values()]
    show("mean return over 100 greedy games", ("environment", "observations", "algorithm", "steps", *titles), rows)
    titles = [f"{title}: IQM [95 %], environments" for title in SIDES.values()]
    show("score over environments that the sides share", ("observations", "algorithm", *titles), list(_scores(results)))
    return figures


def _returns(results: Sequence[Result], figures: dict[str, float]) -> Iterator[Row]:
    """Yield a row of each environment, units and algorithm; put the scores into `figures`."""
    for problem in PROBLEMS.values():
        for units in UNITS:
            for algorithm in problem.algorithms:
                cells = []
                steps = 0
                for side in SIDES:
                    returns, learned = _runs(results, problem, units, algorithm, side)
                    steps = max(steps, learned)
                    if not returns:
                        cells.append("")
                        continue
                    cells.append(f"{told([returns])}, {len(returns)}")
                    figures[f"{problem.id}_{units}_{algorithm}_{side}"] = problem.score(interquartile([returns]).iqm)
                if steps:
                    yield problem.id, units, algorithm, f"{steps:,}", *cells


def _scores(results: Sequence[Result]) -> Iterator[Row]:
    """Yield a row of each units and algorithm: scores over the environments in which we and the defaults have runs."""
    for units in UNITS:
        for algorithm in (*DISCRETE, *CONTINUOUS):
            learners = [problem for problem in PROBLEMS.values() if algorithm in problem.algorithms]
            cells = []
            for side in SIDES:
                tasks = []
                for problem in learners:
                    runs = {
                        each: _runs(results, problem, units, algorithm, each)[0] for each in {"polserve", "sb3", side}
                    }
                    if all(runs.values()) or (algorithm == "pqn" and runs[side]):
                        tasks.append([problem.score(each) for each in runs[side]])
                cells.append(f"{told(tasks)}, {len(tasks)}" if tasks else "")
            if any(cells):
                yield units, algorithm, *cells


def _runs(
    results: Sequence[Result], problem: Problem, units: str, algorithm: str, side: str
) -> tuple[list[float], int]:
    """Mean returns of the runs of a row and side, and the steps that they learned for; 0 where there are none."""
    key = (problem.id, units, algorithm, side)
    found = [r for r in results if (r.plan.problem, r.plan.units, r.plan.algorithm, r.plan.side) == key]
    return [result.mean_return for result in found], max((result.plan.steps for result in found), default=0)


def told(tasks: Sequence[Sequence[float]]) -> str:
    """Write an interquartile mean and its interval, which single runs do not have, with as many digits as they need."""
    found = interquartile(tasks)
    digits = 2 if max(abs(found.low), abs(found.high)) < 10 else 0  # noqa: PLR2004 - scores, or returns
    interval = f" [{found.low:,.{digits}f}, {found.high:,.{digits}f}]" if max(map(len, tasks)) > 1 else ""
    return f"{found.iqm:,.{digits}f}{interval}"
