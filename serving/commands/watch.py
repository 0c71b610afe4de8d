"""`polserve watch`."""

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from polserve.protos.shared.figures import figure
from polserve.serving.commands.target import DEFAULT_TARGET, DEFAULT_WAIT_S, Target, Wait, finite, require_service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polserve.serving.client import LivePolicy
    from polserve.serving.commands.counting import Rates, VersionRates

UNKNOWN = "-"
"""Text in place of what was not measured."""


def watch(
    *,
    metrics: Annotated[
        str,
        typer.Option(help="Address of the metrics page. [default: port 8080 of the target's host]"),
    ] = "",
    interval: Annotated[
        float, typer.Option(help="Seconds between two updates.", min=0.1, max=86_400, callback=finite)
    ] = 1.0,
    target: Target = DEFAULT_TARGET,
    wait: Wait = DEFAULT_WAIT_S,
) -> None:
    """Show live versions, their rates and times, until Ctrl-C."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from polserve.protos.shared.tables import aligned
    from polserve.serving.client import ClientError, PolicyClient
    from polserve.serving.commands.counting import Counter
    from polserve.serving.commands.pages import Pages
    from polserve.serving.signals import EndSignals

    require_service(target, wait)
    pages = Pages.beside(target)
    counter = Counter(Pages.beside(target, metrics_page(metrics or pages.address)))
    console = Console(soft_wrap=True, highlight=False)
    screen = Live(console=console, auto_refresh=False) if console.is_terminal else None
    # NOTE: a KeyboardInterrupt can be lost: where another library calls Python back, it is only printed.
    ended = EndSignals()
    with PolicyClient(target) as client, screen or nullcontext():
        while True:
            try:
                rates = counter.rates()
                lines = [_summary(rates) if rates else "measuring", "", *aligned(_rows(client.policies(), rates))]
            except ClientError as error:
                lines = [str(error)]
            if counter.problem:
                lines += ["", counter.problem]
            if screen is None:
                print("\n".join([*lines, ""]), flush=True)
            else:
                screen.update(Text("\n".join(lines)), refresh=True)
            if ended.wait(interval):
                return


def metrics_page(address: str) -> str:
    """Return the address of a metrics page, which may be written without its scheme and its path."""
    full = address if "://" in address else f"http://{address}"
    return full if urlsplit(full).path.strip("/") else f"{full.rstrip('/')}/metrics"


def _summary(rates: "Rates") -> str:
    """Say how the service as a whole is doing, in a line."""
    median, late = rates.call_s
    parts = [
        f"{rates.calls:,.1f} calls/s",
        f"{rates.errors:,.1f} failed/s",
        f"median {_time(median)}, 99 % within {_time(late)}",
        f"waiting for a model: 99 % within {_time(rates.waiting_s[1])}",
        f"{rates.episodes:,} open episodes",
    ]
    return "; ".join(parts)


def _rows(live: "Sequence[LivePolicy]", rates: "Rates | None") -> "list[tuple[str, ...]]":
    heads = ("version", "aliases", "observations/s", "model p50", "p99", "mean return")
    rows: list[tuple[str, ...]] = [heads]
    for policy in live:
        for version in policy.versions:
            measured = None if rates is None else rates.versions.get((policy.name, version.version))
            named = " ".join(policy.aliases_of(version)) or UNKNOWN
            rows.append((f"{policy.name}/{version.version}", named, *_cells(measured, is_known=rates is not None)))
    return rows


def _cells(measured: "VersionRates | None", *, is_known: bool) -> tuple[str, str, str, str]:
    """Return what was measured of a version; one that has never answered has no metrics yet."""
    if measured is None:
        return ("0.0" if is_known else UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
    mean = UNKNOWN if measured.mean_return is None else figure(measured.mean_return, ",.1f")
    median, late = measured.model_s
    return (f"{measured.observations:,.1f}", _time(median), _time(late), mean)


def _time(seconds: float | None) -> str:
    if seconds is None:
        return UNKNOWN
    return f"{seconds * 1e6:.0f} us" if seconds < 1e-3 else f"{seconds * 1e3:.3g} ms"  # noqa: PLR2004 - a millisecond
