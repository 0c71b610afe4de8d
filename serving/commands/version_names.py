"""How a person writes which version is meant."""

import typer


def split_name(policy: str, version: str) -> tuple[str, str]:
    """Policy and version of POLICY, POLICY/VERSION or POLICY@ALIAS, beside an option --version."""
    name, separator, rest = policy.partition("/")
    if not separator and "@" in policy:
        name, rest = policy.split("@", 1)
        rest = f"@{rest}"
    if rest and version:
        raise typer.BadParameter(f"expected a version once, got {policy!r} and --version {version!r}")
    return name, rest or version
