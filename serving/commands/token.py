"""`polserve token`."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import typer

MOST_DAYS = 36_500


def token(
    name: Annotated[str, typer.Argument(help="Name of whoever gets the token, for the service's log.")],
    *,
    access: Annotated[
        Path,
        typer.Option(help="File to add the token to, made where there is none.", envvar="POLSERVE_ACCESS"),
    ],
    role: Annotated[
        Literal["act", "observe"], typer.Option(help="act: ask for actions, too; observe: see what is live.")
    ] = "act",
    policy: Annotated[
        list[str] | None,
        typer.Option(help="Policy that exists for the caller; repeatable, * stands for any text. [default: all]"),
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=MOST_DAYS, help="Days after which it expires. [default: never]")
    ] = None,
) -> None:
    """Make a token, add it to an access file and print it.

    The file holds a hash: the token itself is shown this one time. A service that reads the file takes it in a few
    seconds.
    """
    from polserve.protos.shared.paths import expanded
    from polserve.serving.access.access_file import add_token

    access = Path(expanded(access))
    expires = None if days is None else datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)
    print(add_token(access, name, role, policy or [], expires))
    if sys.stdout.isatty():
        sys.stderr.write(f"keep it; {access} holds its hash only. Give it to a client as POLSERVE_TOKEN\n")
