"""Algorithms with nothing but their defaults, on environments that nobody tuned for, beside stable-baselines3's.

Every run learns for the same number of environment steps, keeps the best network of as many greedy evaluations, and
plays 100 games of its seed's own. "Moved" is the same environment with observations times 1,000, plus 5,000. A score is
0 for random actions, and 1 for the return that Gymnasium calls solved. The interquartile means and 95 % intervals are
over independent seeds; those of several environments together are drawn anew within each.

Results are kept in a file, so that a call goes on where an earlier one stopped. LunarLander needs the package box2d,
and HalfCheetah mujoco; without them these are left out, and the table says so.
"""

import importlib.util
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import torch

from benchmarks.algorithms.learners import SIDES, run, settings_of
from benchmarks.algorithms.problems import CONTINUOUS, DISCRETE, PROBLEMS, UNITS, Problem
from benchmarks.algorithms.results import Plan, Results
from benchmarks.algorithms.table import report
from benchmarks.tables import finish, options

NEEDS = {"LunarLander": "Box2D", "HalfCheetah": "mujoco"}
"""Module without which Gymnasium does not make environments whose id begins so."""
QUICK_PROBLEM, QUICK_STEPS = "CartPole-v1", 3_000
KINDS: tuple[set[str], ...] = (set(PROBLEMS), {*DISCRETE, *CONTINUOUS}, set(UNITS), set(SIDES))
"""Names that --only takes, of each kind."""


def parsed() -> Namespace:
    """Read the command line."""
    parser = options((__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="environments, algorithms, units or sides"
    )
    parser.add_argument("--seeds", type=int, default=5, help="independent runs of each")
    parser.add_argument("--share", type=float, default=1.0, help="part of each environment's steps to learn for")
    parser.add_argument("--results", type=Path, default=Path("runs/algorithms.jsonl"), help="file that keeps results")
    parser.add_argument("--table", action="store_true", help="show what the file holds, and run nothing")
    arguments = parser.parse_args()
    check(parser, arguments)
    return arguments


def check(parser: ArgumentParser, arguments: Namespace) -> None:
    """Refuse numbers and names that mean nothing."""
    known = set().union(*KINDS)
    if unknown := set(arguments.only) - known:
        parser.error(f"--only: expected names among {', '.join(sorted(known))}; got {', '.join(sorted(unknown))}")
    if arguments.seeds < 1:
        parser.error(f"--seeds: expected at least 1, got {arguments.seeds}")
    if not 0 < arguments.share <= 1:
        parser.error(f"--share: expected a number above 0, up to 1, got {arguments.share}")


def plans(arguments: Namespace) -> Iterator[Plan]:
    """Yield the runs that are asked for, all of one seed before the next: a call that is stopped has a table, too."""
    possible = list(problems(is_quick=arguments.quick))
    for seed in range(1 if arguments.quick else arguments.seeds):
        for problem, units, side in product(possible, UNITS, SIDES):
            steps = QUICK_STEPS if arguments.quick else round(problem.steps * arguments.share)
            for algorithm in problem.algorithms:
                plan = Plan(side, algorithm, problem.id, units, steps, seed)
                is_made = side == "polserve" or settings_of(plan) is not None
                if is_made and is_wanted(plan, arguments.only):
                    yield plan


def problems(*, is_quick: bool) -> Iterator[Problem]:
    """Yield the environments that can be made here."""
    for problem in PROBLEMS.values():
        missing = [
            module
            for start, module in NEEDS.items()
            if problem.id.startswith(start) and importlib.util.find_spec(module) is None
        ]
        if missing:
            print(f"{problem.id} is left out: {missing[0]} is not installed")
        elif not is_quick or problem.id == QUICK_PROBLEM:
            yield problem


def is_wanted(plan: Plan, only: Sequence[str]) -> bool:
    """Whether `only` has the plan's name of each kind of which it has any."""
    names = (plan.problem, plan.algorithm, plan.units, plan.side)
    return all(name in only for name, kind in zip(names, KINDS, strict=True) if kind & set(only))


def main() -> None:
    """Make the runs that are not in the file yet, and print the table."""
    arguments = parsed()
    torch.set_num_threads(1)
    results = Results(arguments.results)
    wanted = list(plans(arguments))
    for plan in [] if arguments.table else wanted:
        if plan not in results:
            results.add(run(plan))
    kept = set(wanted)
    finish(report([result for result in results if result.plan in kept]), as_json=arguments.json)


if __name__ == "__main__":
    main()
