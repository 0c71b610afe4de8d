"""`polserve policies`."""

from typing import Annotated

import typer

from serving.commands.target import DEFAULT_TARGET, Target


def policies(
    *,
    target: Target = DEFAULT_TARGET,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the whole specs.")] = False,
) -> None:
    """List what the service has live: policies, versions, aliases, returns."""
    from google.protobuf import json_format
    from rich.console import Console
    from rich.table import Column, Table

    from protos.polserve.v1 import policy_pb2 as pb
    from serving.client import PolicyClient

    with PolicyClient(target) as client:
        live = client.policies()
    if as_json:
        print(json_format.MessageToJson(pb.ListPoliciesResponse(policies=live)))
        return
    if not live:
        print("no policy is live; the service's /readyz says why")
        return
    whole = [Column(name, no_wrap=True) for name in ("policy", "version", "aliases", "environment")]
    table = Table(*whole, "return", "random", box=None, padding=(0, 2, 0, 0))
    for policy in live:
        for version in policy.versions:
            aliases = sorted(alias for alias, number in policy.aliases.items() if number == version.version)
            evaluation = version.spec.evaluation
            table.add_row(
                policy.name,
                version.version,
                " ".join(f"@{alias}" for alias in aliases),
                version.spec.environment.id,
                f"{evaluation.mean:.1f} [{evaluation.interval_low:.1f}, {evaluation.interval_high:.1f}]",
                f"{evaluation.random_mean:.1f}",
            )
    Console().print(table)
