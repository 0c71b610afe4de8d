"""Allocators trained from scratch, served, and asked day by day: what they miss of the best plan that there is.

Each seed trains the preset; its graph is served, plays held-out contexts through Allocate, and its plans are valued
without the environment, beside the certified optimum, solving anew every day, and rules; --seeds 0 has those alone, and
--slope bends the curves. With --contexts, the contexts of a file (docs/adbudget.md has the form) are played against the
bundled policy, or against the service at --target.
"""

import contextlib
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.accounts import play_contexts
from benchmarks.load import polserve
from benchmarks.tables import finish, options, show
from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.serving.client import ClientError, PolicyClient
from polserve.training.environments.making import EVALUATION_FIRST_SEED
from polserve.training.errors import TrainingError
from polserve.training.evaluation.statistics import summarise
from polserve.training.learning.loop import Loop
from polserve.training.learning.progress import Progress
from polserve.training.runs.evaluating import Trained, make_version
from polserve.training.runs.presets import PRESETS
from polserve.training.runs.stages import Stages
from polserve.training.runs.trainee import build_trainee
from polserve.training.tasks.adbudget.accounts import Account, default_account
from polserve.training.tasks.adbudget.contexts import Context, read_contexts
from polserve.training.tasks.adbudget.plans.marginal import MarginalRule
from polserve.training.tasks.adbudget.plans.optimum import Plan, Problem, solve_all
from polserve.training.tasks.adbudget.plans.rules import (
    Resolve,
    Rule,
    best_share,
    even,
    fixed_share,
    play_rule,
    proportional,
    regret,
)

COLUMNS = ("regret", "mean", "95 % interval", "95th percentile")
ROUNDING = 1e-6
"""Money: whole micros as floats."""
Regrets = NDArray[np.float64]


@dataclass
class Speed:
    """How fast training went when it was last told, apart for the environments and the learner."""

    loop: Loop
    environment_steps_per_s = samples_per_s = 0.0

    def watch(self, progress: Progress) -> None:
        """Remember how fast it goes."""
        if progress.is_report_due and (figures := self.loop.figures()).samples_per_s:
            self.environment_steps_per_s, self.samples_per_s = figures.environment_steps_per_s, figures.samples_per_s


def train(seed: int, channels: int, steps: int | None, folder: Path) -> dict[str, float]:
    """Train the seed's policy into folder/adbudget-SEED/1; return how long it took and how fast it went."""
    preset = PRESETS["adbudget"]
    environment = replace(preset.environment, kwargs={"n_channels": channels})
    loop = replace(preset.loop, steps=steps or preset.loop.steps, selection_episodes=200 if channels < 3 else 50)  # noqa: PLR2004
    recipe = replace(preset, policy=f"adbudget-{seed}", environment=environment, loop=loop)
    started = time.monotonic()
    trainee = build_trainee(recipe, seed)
    speed = Speed(trainee.loop)
    with contextlib.closing(trainee):
        trained = Trained(recipe, trainee, trainee.train(speed.watch), pb.Provenance(seed=seed))
        _, version = make_version(trained, Stages(Console(quiet=True)))
    version.write(folder / recipe.policy / "1")
    agent = recipe.agent
    consumed = speed.samples_per_s / (recipe.replay.updates_per_vector_step * agent.batch_size / recipe.loop.n_envs)
    return {"seconds": time.monotonic() - started, "environment_ratio": speed.environment_steps_per_s / consumed}


def plan_regrets(plans: Sequence[NDArray[np.float64]], contexts: Sequence[Context], best: Regrets) -> Regrets:
    """Regret of each plan, valued by the convex program's own objective, for plans that keep to their budgets."""
    for plan, context in zip(plans, contexts, strict=True):
        if plan.sum() > context.budget + ROUNDING or (plan > np.array(context.caps) + ROUNDING).any() or plan.min() < 0:
            raise AssertionError("a plan breaks its budget or its caps")
    worth = [Problem(context).worth(plan) for plan, context in zip(plans, contexts, strict=True)]
    return regret(np.array(worth), best)


@contextlib.contextmanager
def service_of(folder: Path) -> Iterator[PolicyClient]:
    """Client of a service with the versions in `folder`."""
    with polserve("--policies", str(folder)) as server, PolicyClient(f"127.0.0.1:{server.port}") as client:
        yield client


def row(name: str, regrets: Regrets) -> tuple[str, ...]:
    """Line of the table."""
    interval = summarise(100 * regrets)
    return (
        name,
        f"{interval.mean:.3f} %",
        f"{interval.interval_low:.3f} to {interval.interval_high:.3f} %",
        f"{100 * np.quantile(regrets, 0.95):.3f} %",
    )


def compare(seeds: int, channels: int, steps: int | None, n_contexts: int) -> dict[str, float]:
    """Train the seeds, play the contexts, print the table."""
    contexts = default_account(channels).draw_many(np.random.default_rng(EVALUATION_FIRST_SEED + 1), n_contexts)
    with tempfile.TemporaryDirectory() as folder:
        solved = solve_all(contexts)
        with ProcessPoolExecutor(2) as pool:
            runs = list(pool.map(train, range(seeds), [channels] * seeds, [steps] * seeds, [Path(folder)] * seeds))
        best = np.array([plan.sales for plan in solved])
        with service_of(Path(folder)) as client:
            history = client.policy("adbudget-0").versions[0].message.spec.allocation.history_days
            trained = [
                plan_regrets(play_contexts(client, f"adbudget-{seed}", contexts, history), contexts, best)
                for seed in range(seeds)
            ]
    rows = [row(f"policy of seed {seed}", regrets) for seed, regrets in enumerate(trained)]
    rows.append(row("mean of the seeds' policies", np.mean(trained, axis=0)))
    by_rule, resolved = rule_regrets(default_account(channels), contexts, best)
    rows.append(row("solved anew every day", resolved))
    rows += [row(name, regrets) for name, regrets in by_rule.items()]
    show(f"{channels} channels, {n_contexts} held-out contexts, through Allocate", COLUMNS, rows)
    per_seed = [float(regrets.mean()) for regrets in trained]
    return {
        "mean_regret": float(np.mean(per_seed)),
        "p95_regret": float(np.quantile(np.concatenate(trained), 0.95)),
        "worst_seed_mean_regret": max(per_seed),
        "worst_seed_p95_regret": max(float(np.quantile(regrets, 0.95)) for regrets in trained),
        "best_rule_mean_regret": min(float(regrets.mean()) for regrets in by_rule.values()),
        "largest_certified_gap": max(plan.relative_gap for plan in solved),
        "training_s": float(np.median([run["seconds"] for run in runs])),
        "environment_ratio": float(np.median([run["environment_ratio"] for run in runs])),
    }


def rule_regrets(account: Account, contexts: Sequence[Context], best: Regrets) -> tuple[dict[str, Regrets], Regrets]:
    """Regrets of the rules that a person could run, by name, and of solving anew every day."""
    week = contexts[0].weekday_demand
    share = best_share(contexts, best, lambda share: proportional(share, week))
    rules: dict[str, Rule] = {
        "equal marginal returns, with carry-over and horizon": MarginalRule(account),
        "equal marginal returns, by each day's own demand": MarginalRule(account, weighs_carry_over=False),
        "best share, demand-proportional pace, in hindsight": proportional(share, week),
        "best share, even pace, in hindsight": fixed_share(best_share(contexts, best, fixed_share)),
        "equal split, even pace": even,
    }
    by_rule = {name: regret(play_rule(rule, contexts)[1], best) for name, rule in rules.items()}
    return by_rule, regret(play_rule(Resolve(contexts), contexts)[1], best)


def compare_rules(channels: int, slope: float | None, n_contexts: int) -> dict[str, float]:
    """Play the rules alone, on the contexts of `compare` or with all curves bent to one slope; print the table."""
    account = default_account(channels)
    if slope is not None:
        account = replace(account, channels=tuple(replace(channel, slope=slope) for channel in account.channels))
    contexts = account.draw_many(np.random.default_rng(EVALUATION_FIRST_SEED + 1), n_contexts)
    solved: list[Plan] = solve_all(contexts)
    by_rule, resolved = rule_regrets(account, contexts, np.array([plan.sales for plan in solved]))
    rows = [row("solved anew every day", resolved), *(row(*each) for each in by_rule.items())]
    show(f"{channels} channels, {n_contexts} held-out contexts", COLUMNS, rows)
    gaps = [plan.relative_gap for plan in solved]
    return {
        "best_rule_mean_regret": min(float(regrets.mean()) for regrets in by_rule.values()),
        "resolved_mean_regret": float(resolved.mean()),
        "mean_gap": float(np.mean(gaps)),
        "largest_gap": max(gaps),
    }


def answer_file(path: Path, target: str | None, policy: str) -> dict[str, float]:
    """Play a file's contexts and print every day's spends, one JSON object a context."""
    contexts = read_contexts(path)
    solved = solve_all(contexts)
    best = np.array([plan.worth for plan in solved])
    with contextlib.ExitStack() as stack:
        address = target or f"127.0.0.1:{stack.enter_context(polserve()).port}"
        client = stack.enter_context(PolicyClient(address))
        live = client.policy(policy).live_version()
        if live is None:
            raise SystemExit(f"no version of {policy} answers at {target}")
        history = live.message.spec.allocation.history_days
        plans = play_contexts(client, policy, contexts, history)
    regrets = plan_regrets(plans, contexts, best)
    for index, (plan, missed, context) in enumerate(zip(plans, regrets, contexts, strict=True)):
        spends = [dict(zip(context.names, day, strict=True)) for day in plan.tolist()]
        print(json.dumps({"context": index, "regret": missed, "sales_best": solved[index].sales, "spends": spends}))
    return {"mean_regret": float(regrets.mean()), "p95_regret": float(np.quantile(regrets, 0.95))}


def main() -> None:
    """Train and compare, or answer a file."""
    parser = options((__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="training runs; 0 plays the rules alone")
    parser.add_argument("--slope", type=float, help="with --seeds 0: slope of all curves; above 1 they are S-shaped")
    parser.add_argument("--channels", type=int, default=2, help="2 to 8")
    parser.add_argument("--contexts", type=Path, help="a file of contexts to answer instead, one JSON object a line")
    parser.add_argument("--target", help="with --contexts: a running service, host:port")
    parser.add_argument("--policy", default="adbudget", help="with --contexts: its policy")
    arguments = parser.parse_args()
    if arguments.contexts:
        try:
            figures = answer_file(arguments.contexts, arguments.target, arguments.policy)
        except (TrainingError, ClientError) as error:
            raise SystemExit(f"error: {error}") from error
    elif not arguments.seeds:
        figures = compare_rules(arguments.channels, arguments.slope, 20 if arguments.quick else 200)
    elif arguments.quick:
        figures = compare(1, arguments.channels, 10_000, 20)
    else:
        figures = compare(arguments.seeds, arguments.channels, None, 200)
    finish(figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
