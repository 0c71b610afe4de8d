"""`polserve allocate`."""

import json
from datetime import datetime
from decimal import Decimal
from typing import Annotated

import typer

from polserve.protos.shared.calls import MOST_MICROS
from polserve.protos.shared.names import MICROS
from polserve.serving.commands.budget_options import BudgetOptions
from polserve.serving.commands.target import DEFAULT_TARGET, DEFAULT_WAIT_S, Target, Wait, require_service
from polserve.serving.commands.version_option import split_name

Pairs = list[str] | None


def allocate(
    policy: Annotated[str, typer.Argument(help="Policy to ask: NAME, NAME/VERSION or NAME@ALIAS.")] = "adbudget",
    *,
    remaining: Annotated[str, typer.Option(help="Money left of the budget, such as 27400 or 99.95.")],
    total: Annotated[
        str | None, typer.Option(help="Budget at the start. [default: what makes --remaining on schedule]")
    ] = None,
    day: Annotated[int, typer.Option(help="Day of the horizon; 0 is the first.")] = 0,
    horizon: Annotated[
        int | None, typer.Option(help="Length of the horizon in days. [default: the policy's longest]")
    ] = None,
    weekday: Annotated[int | None, typer.Option(help="Day of the week; 0 is Monday. [default: today's]")] = None,
    demand: Annotated[float, typer.Option(help="Demand expected today; 1 is an ordinary day of this weekday.")] = 1.0,
    spent: Annotated[
        Pairs,
        typer.Option(
            metavar="CHANNEL=AMOUNT,...", help="Money that a channel spent, newest day first; repeat for each channel."
        ),
    ] = None,
    floor: Annotated[
        Pairs, typer.Option(metavar="CHANNEL=AMOUNT", help="Least that a channel must spend today; repeat for more.")
    ] = None,
    cap: Annotated[
        Pairs, typer.Option(metavar="CHANNEL=AMOUNT", help="Most that a channel may spend today; repeat for more.")
    ] = None,
    version: Annotated[str, typer.Option(help='Version to ask: a number or "@alias". [default: the champion]')] = "",
    target: Target = DEFAULT_TARGET,
    wait: Wait = DEFAULT_WAIT_S,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, with money in micros (millionths of a unit).")
    ] = False,
) -> None:
    """Ask the service how to split a budget today."""
    from polserve.serving.client import BudgetDay, PolicyClient

    policy, version = split_name(policy, version)
    left = _micros("--remaining", remaining)
    past = {name: [_micros("--spent", part) for part in text.split(",")] for name, text in _pairs("--spent", spent)}
    floors = {name: _micros("--floor", text) for name, text in _pairs("--floor", floor)}
    caps = {name: _micros("--cap", text) for name, text in _pairs("--cap", cap)}
    at_start = None if total is None else _micros("--total", total)
    options = BudgetOptions(left, at_start, day, horizon, weekday, demand, past, floors, caps)
    options.check()
    require_service(target, wait)
    with PolicyClient(target) as client:
        live = client.policy(policy).live_version(version)  # where it is not live, the service says so
        allocator = live.allocation if live else None
        if allocator:
            options.check_for(allocator)
        channels = {
            **dict.fromkeys(allocator.channels if allocator else (), ()),
            **dict.fromkeys([*floors, *caps], ()),
            **past,
        }
        days = horizon if horizon is not None else allocator.max_horizon_days if allocator else 1
        on_schedule = left * days // max(1, days - day) if 0 <= day < days else left
        today = BudgetDay(
            day=day,
            horizon_days=days,
            total_micros=min(on_schedule, MOST_MICROS) if at_start is None else at_start,
            remaining_micros=left,
            weekday=datetime.now().astimezone().weekday() if weekday is None else weekday,
            demand=demand,
            spent_micros=channels,
            floor_micros=floors,
            cap_micros=caps,
        )
        try:
            split = client.allocate(policy, today, version=version)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    if as_json:
        print(
            json.dumps(
                {
                    "spend_micros": dict(split.spend_micros),
                    "unspent_micros": split.unspent_micros,
                    "equal_split_micros": split.equal_split_micros,
                    "bounds": dict(split.bounds),
                    "version": split.version,
                }
            )
        )
        return
    width = max(len(name) for name in (*split.spend_micros, "left for later"))
    for name, micros in split.spend_micros.items():
        why = "" if split.bounds[name] == "none" else f"  ({split.bounds[name]})"
        print(f"{name:<{width}}  {micros / MICROS:>14,.2f}{why}")
    print(f"{'left for later':<{width}}  {split.unspent_micros / MICROS:>14,.2f}")
    currency = allocator.currency if allocator else ""
    print(f"by {split.policy}/{split.version}, in {currency}; equal parts: {split.equal_split_micros / MICROS:,.2f}")


def _pairs(option: str, texts: Pairs) -> list[tuple[str, str]]:
    pairs = [tuple(text.split("=", 1)) for text in texts or ()]
    for pair, text in zip(pairs, texts or (), strict=True):
        if len(pair) != 2:  # noqa: PLR2004 - a name and its amounts
            raise typer.BadParameter(f"{option}: expected CHANNEL=AMOUNT, got {text!r}")
    names = [pair[0] for pair in pairs]
    if len(set(names)) != len(names):
        raise typer.BadParameter(f"{option}: expected each channel once, got {', '.join(names)}")
    return [(pair[0], pair[1]) for pair in pairs]


def _micros(option: str, text: str) -> int:
    """Read money exactly as written; raise BadParameter where it is none."""
    try:
        micros = Decimal(text.strip().replace("_", "")) * MICROS
        is_money = 0 <= micros <= MOST_MICROS and micros == micros.to_integral_value()
    except ArithmeticError:
        is_money = False
    if not is_money:
        raise typer.BadParameter(f"{option}: expected an amount such as 12000 or 99.95, of at least 0, got {text!r}")
    return int(micros)
