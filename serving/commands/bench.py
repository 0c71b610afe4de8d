"""`polserve bench`."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from polserve.serving.commands.target import DEFAULT_TARGET, DEFAULT_WAIT_S, Target, Wait, require_service
from polserve.serving.commands.version_names import split_name

if TYPE_CHECKING:
    from polserve.serving.load_generator import Outcome, Plan

QUANTILE_NAMES = ("p50", "p90", "p99", "p99.9", "max")


def bench(
    policy: Annotated[str, typer.Argument(help="POLICY, POLICY/VERSION or POLICY@ALIAS.")],
    *,
    duration: Annotated[float, typer.Option(min=0.1, help="Seconds that count.")] = 10.0,
    concurrency: Annotated[int, typer.Option(min=1, help="Calls in flight; with --rate, the most of them.")] = 64,
    rate: Annotated[
        float | None, typer.Option(min=0.1, help="Calls due each second, answered or not; default: one after another.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Observations in a call.")] = 1,
    connections: Annotated[int, typer.Option(min=1, help="Connections, used in turn.")] = 8,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds after which a call fails.")] = 10.0,
    target: Target = DEFAULT_TARGET,
    wait: Wait = DEFAULT_WAIT_S,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Put the service under load: how long calls take, and which fail."""
    import numpy as np

    from polserve.serving.client import PolicyClient
    from polserve.serving.client.messages import act_request
    from polserve.serving.load_generator import Plan, sample_observation

    name, version = split_name(policy, "")
    require_service(target, wait)
    with PolicyClient(target) as client:
        live = client.policy(name)
        spec = (live.live_version(version) or live.versions[-1]).message.spec.observation
        observation = sample_observation(spec, batch, np.random.default_rng(0))
        client.act(name, observation, version=version)  # what is wrong with the request is said once, and at once
    request = act_request(name, observation, version, with_values=False, epsilon=0.0)
    plan = Plan(target, request, duration, concurrency, rate=rate, connections=connections, timeout_s=timeout)
    outcome = _run(plan)
    if as_json:
        print(json.dumps(_figures(outcome, batch)))
    else:
        _print(outcome, batch)


def _run(plan: "Plan") -> "Outcome":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from polserve.serving.load_generator import run_load

    columns = (BarColumn(), TextColumn("{task.fields[calls]} calls"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("", total=plan.warm_up_s + plan.duration_s, calls=0)
        return run_load(plan, lambda elapsed, calls: progress.update(task, completed=elapsed, calls=calls))


def _figures(outcome: "Outcome", batch: int) -> dict[str, object]:
    answered = len(outcome.latencies_s)
    return {
        "calls": sum(outcome.codes.values()),
        "calls_per_second": answered / outcome.seconds,
        "observations_per_second": answered * batch / outcome.seconds,
        "latency_ms": {f"{quantile:g}": 1000 * seconds for quantile, seconds in outcome.quantiles().items()},
        "codes": dict(outcome.codes),
    }


def _print(outcome: "Outcome", batch: int) -> None:
    from polserve.serving.commands.tables import print_table

    answered = len(outcome.latencies_s)
    print(f"{answered} calls answered in {outcome.seconds:.1f} s: {answered / outcome.seconds:,.0f} calls/s", end="")
    print(f", {answered * batch / outcome.seconds:,.0f} observations/s" if batch > 1 else "")
    quantiles = [f"{1000 * seconds:.2f}" for seconds in outcome.quantiles().values()]
    if quantiles:
        print_table([[["ms since a call was due", *QUANTILE_NAMES], ["", *quantiles]]])
    for code, n in sorted(outcome.codes.items()):
        if code != "OK":
            print(f"{n} calls failed with {code}")
