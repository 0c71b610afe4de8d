"""How a person writes which version is meant."""

import typer

from protos.names import CHAMPION
from protos.polserve.v1 import policy_pb2 as pb


def split_name(policy: str, version: str) -> tuple[str, str]:
    """Policy and version of POLICY, POLICY/VERSION or POLICY@ALIAS, beside an option --version."""
    name, separator, rest = policy.partition("/")
    if not separator and "@" in policy:
        name, rest = policy.split("@", 1)
        rest = f"@{rest}"
    if rest and version:
        raise typer.BadParameter(f"expected a version once, got {policy!r} and --version {version!r}")
    return name, rest or version


def spec_of(live: pb.LivePolicy, version: str) -> pb.PolicySpec:
    """The spec of the live version that is meant; an empty one where it is not live, which the service will tell."""
    named = live.aliases.get(version.removeprefix("@") or CHAMPION, "") if not version.isdecimal() else version
    for item in live.versions:
        if item.version == named or (not version and not named):
            return item.spec
    return pb.PolicySpec()
