"""The option of commands that sign the version which they register."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SignKey: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="Sign the version with the Ed25519 private key in this file, in PEM.", envvar="POLSERVE_SIGN_KEY"
    ),
]


def key_given(path: Path | None) -> "Ed25519PrivateKey | None":
    """Read the key that an option names; None where it names none. Raises SigningRefused."""
    if path is None:
        return None
    from polserve.training.signing import signing_key

    return signing_key(path, "--sign-key")
