"""`polserve policies`."""

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polserve.protos.shared.figures import figure
from polserve.serving.commands.target import DEFAULT_TARGET, DEFAULT_WAIT_S, Target, Wait, require_service

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from polserve.serving.client import EvaluationSummary, LivePolicy, LiveVersion, PolicyClient
    from polserve.serving.commands.pages import Pages

HISTORY_S = 8.0
"""Time in which a registry may answer for the history."""
AGAIN_S = 0.3
UNKNOWN = "-"
"""Text in place of the returns of a version that nobody evaluated."""


def policies(
    name: Annotated[
        str, typer.Argument(metavar="[POLICY]", help="POLICY, POLICY/VERSION or POLICY@ALIAS to describe; all if none.")
    ] = "",
    *,
    http: Annotated[
        str, typer.Option(help="Address of the HTTP port, for the history. [default: port 8080 of the target's host]")
    ] = "",
    target: Target = DEFAULT_TARGET,
    wait: Wait = DEFAULT_WAIT_S,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the complete specs.")] = False,
) -> None:
    """List what is live, or describe one version.

    A description has the spec, the evaluation, where the version comes from, and the history of the policy.
    """
    from polserve.serving.client import PolicyClient
    from polserve.serving.commands.pages import Pages

    require_service(target, wait)
    with PolicyClient(target) as client:
        if name:
            _describe(client, name, Pages.beside(target, http), as_json=as_json)
        else:
            _list(client.policies(), as_json=as_json)


def _list(live: "Sequence[LivePolicy]", *, as_json: bool) -> None:
    from google.protobuf import json_format

    from polserve.protos.polserve.v1 import policy_pb2 as pb
    from polserve.protos.shared.tables import print_table

    if as_json:
        print(json_format.MessageToJson(pb.ListPoliciesResponse(policies=[policy.message for policy in live])))
    elif not live:
        print("no policy is live; the service's /readyz says why")
    else:
        print_table(*layouts(live))
        for line in client_parts(live):
            print(line)


def _describe(client: "PolicyClient", name: str, pages: "Pages", *, as_json: bool) -> None:
    """Print what is known of one live version, and the history of its policy."""
    from google.protobuf import json_format

    from polserve.serving.commands.described import describe, history_lines, refused_lines
    from polserve.serving.commands.version_option import split_name
    from polserve.serving.errors import UnknownVersion

    policy_name, asked = split_name(name, "")
    policy = client.policy(policy_name)
    version = policy.live_version(asked)
    if version is None:
        raise UnknownVersion(policy_name, asked, [live.version for live in policy.versions], policy.aliases)
    try:
        history = _history(pages, policy_name)
    except (OSError, ValueError) as error:
        problem = f"no history at {pages.address} ({error}); give the address of the HTTP port with --http"
        history = {"state": "unknown", "problem": problem}
    if as_json:
        told = json_format.MessageToDict(version.message, preserving_proto_field_name=True)
        print(json.dumps({"live": told, "history": history}, indent=2))
        return
    for line in describe(policy, version):
        print(line)
    print()
    if refused := list(refused_lines(history)):
        print(*refused, "", sep="\n")
    for line in [history["problem"]] if history["state"] == "unknown" else history_lines(history):
        print(line)


def _history(pages: "Pages", policy: str) -> "Mapping[str, Any]":
    """Ask for a policy's past, until the registry has answered or the time is up."""
    from polserve.serving.commands.described import parse_history

    until = time.monotonic() + HISTORY_S
    while True:
        history = parse_history(pages.read(f"/v1/policies/{policy}/history"))
        if history["state"] != "asked" or time.monotonic() > until:
            return history
        time.sleep(AGAIN_S)


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
    yield figure(evaluation.mean)
    yield " to ".join(map(figure, evaluation.interval))
    yield figure(evaluation.random_mean)
