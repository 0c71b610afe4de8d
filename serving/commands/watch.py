"""`polserve watch`."""

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from polserve.serving.commands.target import DEFAULT_TARGET, DEFAULT_WAIT_S, Target, Wait, finite, require_service

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from polserve.serving.client import LivePolicy

    Counts = Mapping[tuple[str, str], float]


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
    """Show live versions and their rates, until Ctrl-C."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from polserve.protos.shared.tables import aligned
    from polserve.serving.addresses import spelled
    from polserve.serving.client import ClientError, Credentials, PolicyClient
    from polserve.serving.client.target import host_of
    from polserve.serving.commands.counting import Counter
    from polserve.serving.signals import EndSignals

    require_service(target, wait)
    credentials = Credentials.from_environment()
    scheme = "https" if credentials.is_encrypted else "http"
    counter = Counter(metrics or f"{scheme}://{spelled(host_of(target), 8080)}/metrics", credentials)
    console = Console(soft_wrap=True, highlight=False)
    screen = Live(console=console, auto_refresh=False) if console.is_terminal else None
    # NOTE: a KeyboardInterrupt can be lost: where another library calls Python back, it is only printed.
    ended = EndSignals()
    with PolicyClient(target) as client, screen or nullcontext():
        while True:
            try:
                lines = aligned(_rows(client.policies(), counter.per_second()))
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


def _rows(live: "Sequence[LivePolicy]", rates: "Counts | None") -> "list[tuple[str, ...]]":
    rows: list[tuple[str, ...]] = [("version", "aliases", "observations/s")]
    for policy in live:
        for version in policy.versions:
            rate = None if rates is None else rates.get((policy.name, version.version), 0.0)
            named = " ".join(policy.aliases_of(version)) or "-"
            rows.append((f"{policy.name}/{version.version}", named, "-" if rate is None else f"{rate:,.1f}"))
    return rows
