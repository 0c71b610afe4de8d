"""Which version is meant, where it may be written behind the policy's name or as an option."""

import typer

from polserve.protos.shared.version_names import VersionName


def split_name(policy: str, version: str) -> tuple[str, str]:
    """Split POLICY, POLICY/VERSION or POLICY@ALIAS into policy and version, beside an option --version."""
    name = VersionName.parse(policy)
    written = f"@{name.alias}" if name.alias else name.version
    if written and version:
        raise typer.BadParameter(f"expected a version once, got {policy!r} and --version {version!r}")
    return name.policy, written or version
