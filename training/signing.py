"""Signing of policy versions, in a folder or in the registry."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from polserve.protos.shared.names import MODEL_FILE
from polserve.protos.shared.signing import KeyRefused, read_private_key, sign_folder
from polserve.protos.shared.version_names import VersionName
from polserve.training.errors import InvalidOption, SigningRefused
from polserve.training.registry.names import check_policy_name

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def signing_key(path: Path, option: str = "--key") -> "Ed25519PrivateKey":
    """Read the key that signs, from the file that an option names.

    Raises:
        SigningRefused: the file holds none that can be used.
    """
    try:
        return read_private_key(path)
    except KeyRefused as refusal:
        raise SigningRefused(f"{option}: {refusal}") from refusal


def sign_version_folder(folder: Path, policy: str, key: "Ed25519PrivateKey") -> Path:
    """Sign the version in `folder`; return the file that holds its signatures.

    Raises:
        SigningRefused: it is no version, or cannot be written to.
    """
    if not (folder / MODEL_FILE).is_file():
        raise SigningRefused(f"expected the folder of a version, with {MODEL_FILE} in it, got {folder}")
    try:
        check_policy_name(policy, "--policy")
    except InvalidOption as error:
        raise SigningRefused(str(error)) from error
    try:
        return sign_folder(folder, policy, key)
    except OSError as error:
        raise SigningRefused(f"{error.filename or folder}: {error.strerror or error}") from error


def sign_registered(name: VersionName, key: "Ed25519PrivateKey") -> str:
    """Sign a version in the registry; return how it is called there.

    Raises:
        RegistryError: there is no such version, or its files are not those that were registered.
    """
    from polserve.training.registry.store import connect
    from polserve.training.registry.versions import PolicyRegistry

    registry = PolicyRegistry(connect())
    number = registry.resolve(name)
    with tempfile.TemporaryDirectory() as folder:
        files = registry.download(name.policy, number, Path(folder))
        registry.check_sha256(name.policy, number, files / MODEL_FILE)
        registry.add_signatures(name.policy, number, sign_version_folder(files, name.policy, key))
    return f"{name.policy}/{number}"
