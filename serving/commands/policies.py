"""`polserve policies`."""

from typing import TYPE_CHECKING, Annotated

import typer

from polserve.serving.commands.target import DEFAULT_TARGET, DEFAULT_WAIT_S, Target, Wait, require_service

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from polserve.serving.client import EvaluationSummary, LivePolicy, LiveVersion

UNKNOWN = "-"
"""Text in place of the returns of a version that nobody evaluated."""


def policies(
    *,
    target: Target = DEFAULT_TARGET,
    wait: Wait = DEFAULT_WAIT_S,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the complete specs.")] = False,
) -> None:
    """List the live versions, their aliases and returns."""
    from google.protobuf import json_format

    from polserve.protos.polserve.v1 import policy_pb2 as pb
    from polserve.protos.shared.tables import print_table
    from polserve.serving.client import PolicyClient

    require_service(target, wait)
    with PolicyClient(target) as client:
        live = client.policies()
    if as_json:
        print(json_format.MessageToJson(pb.ListPoliciesResponse(policies=[policy.message for policy in live])))
    elif not live:
        print("no policy is live; the service's /readyz says why")
    else:
        print_table(*layouts(live))
        for line in client_parts(live):
            print(line)


def layouts(live: "Sequence[LivePolicy]") -> list[list[tuple[str, ...]]]:
    """Lay the table out in each form that it may be printed in, the fullest first."""
    rows = [_row(policy, version) for policy in live for version in policy.versions]
    full = [("version", "aliases", "environment", "return", "interval", "random"), *rows]
    without_interval = [(*row[:4], row[5]) for row in full]
    return [full, without_interval, [row[:4] for row in full], [(*row[:2], row[3]) for row in full]]


def client_parts(live: "Sequence[LivePolicy]") -> "Iterator[str]":
    """Lines on what callers of a version do as wrappers of its environment do; none for most."""
    for policy in live:
        for version in policy.versions:
            parts = []
            if names := ", ".join(version.client_wrappers):
                parts.append(f"send what {names} makes of an observation")
            if names := ", ".join(version.client_action_wrappers):
                parts.append(f"put the answer through {names}")
            if parts:
                yield f"{policy.name}/{version.version}: {'; '.join(parts)}"


def _row(policy: "LivePolicy", live: "LiveVersion") -> tuple[str, ...]:
    name, environment = f"{policy.name}/{live.version}", live.environment or UNKNOWN
    return (name, " ".join(policy.aliases_of(live)) or UNKNOWN, environment, *_returns(live.evaluation))


def _returns(evaluation: "EvaluationSummary | None") -> "Iterator[str]":
    """Mean, interval and the random policy's mean."""
    if evaluation is None:
        yield from (UNKNOWN, UNKNOWN, UNKNOWN)
        return
    yield f"{evaluation.mean:.1f}"
    yield "{:.1f} to {:.1f}".format(*evaluation.interval)
    yield f"{evaluation.random_mean:.1f}"
