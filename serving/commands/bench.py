"""`polserve bench`."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from polserve.serving.commands.target import DEFAULT_TARGET, DEFAULT_WAIT_S, Target, Wait, finite, require_service
from polserve.serving.commands.version_option import split_name

if TYPE_CHECKING:
    from polserve.serving.load_generator import LoadResult, LoadSchedule

QUANTILE_NAMES = ("p50", "p90", "p99", "p99.9", "max")


def bench(
    policy: Annotated[str, typer.Argument(help="Policy to call: NAME, NAME/VERSION or NAME@ALIAS.")],
    *,
    duration: Annotated[
        float, typer.Option(min=0.1, callback=finite, help="Seconds to measure, after a second of warming up.")
    ] = 10.0,
    concurrency: Annotated[
        int, typer.Option(min=1, help="Calls in flight; with --rate, the most that there may be.")
    ] = 64,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            callback=finite,
            help="Calls due each second, whether or not earlier ones are answered. [default: one after another]",
        ),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Observations in each call.")] = 1,
    connections: Annotated[int, typer.Option(min=1, help="Connections, which the calls take in turn.")] = 8,
    timeout: Annotated[
        float, typer.Option(min=0.001, max=86_400, callback=finite, help="Seconds after which a call fails.")
    ] = 10.0,
    target: Target = DEFAULT_TARGET,
    wait: Wait = DEFAULT_WAIT_S,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Put the service under load and time its calls.

    Prints how many calls are answered each second, how long they take, and how many fail with which status.
    """
    import numpy as np

    from polserve.serving.client import PolicyClient
    from polserve.serving.client.messages import ActOptions, act_request
    from polserve.serving.load_generator import LoadSchedule, sample_observation

    name, version = split_name(policy, "")
    require_service(target, wait)
    with PolicyClient(target) as client:
        live = client.policy(name)
        spec = (live.live_version(version) or live.versions[-1]).message.spec.observation
        observation = sample_observation(spec, batch, np.random.default_rng(0))
        client.act(name, observation, version=version)  # what is wrong with the request is said once, and at once
    request = act_request(name, observation, ActOptions(version))
    schedule = LoadSchedule(
        target, request, duration, concurrency, rate=rate, connections=connections, timeout_s=timeout
    )
    result = _run(schedule)
    if as_json:
        print(json.dumps(_figures(result, batch)))
    else:
        _print(result, batch)


def _run(schedule: "LoadSchedule") -> "LoadResult":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from polserve.serving.load_generator import run_load

    columns = (BarColumn(), TextColumn("{task.fields[calls]} calls"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("", total=schedule.warm_up_s + schedule.duration_s, calls=0)
        return run_load(schedule, lambda elapsed, calls: progress.update(task, completed=elapsed, calls=calls))


def _figures(result: "LoadResult", batch: int) -> dict[str, object]:
    answered = len(result.latencies_s)
    return {
        "calls": sum(result.codes.values()),
        "calls_per_second": answered / result.seconds,
        "observations_per_second": answered * batch / result.seconds,
        "latency_ms": {f"{quantile:g}": 1000 * seconds for quantile, seconds in result.quantiles().items()},
        "codes": dict(result.codes),
    }


def _print(result: "LoadResult", batch: int) -> None:
    from polserve.protos.shared.tables import print_table

    answered = len(result.latencies_s)
    print(f"{answered} calls answered in {result.seconds:.1f} s: {answered / result.seconds:,.0f} calls/s", end="")
    print(f", {answered * batch / result.seconds:,.0f} observations/s" if batch > 1 else "")
    quantiles = [f"{1000 * seconds:.2f}" for seconds in result.quantiles().values()]
    if quantiles:
        print_table([["ms since a call was due", *QUANTILE_NAMES], ["", *quantiles]])
    for code, n in sorted(result.codes.items()):
        if code != "OK":
            print(f"{n} calls failed with {code}")
