"""Signatures of policy versions: who signed the model, with the spec in it, and the golden observations.

A signature is Ed25519 over a list of the files' checksums and the name of the policy; it is kept beside the files.
"""

import base64
import hashlib
import json
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polserve.protos.shared.names import GOLDEN_FILE, MODEL_FILE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE_FILE = Path("extra_files") / "signatures.json"
MOST_SIGNATURE_BYTES = 64 * 1024
"""Largest signature file that is read."""
MOST_KEY_BYTES = 64 * 1024
FORMAT = 1
_SIGNED = (Path(MODEL_FILE), GOLDEN_FILE)
_MAKE_KEY = "make one: openssl genpkey -algorithm ed25519 -out KEY.pem"


class KeyRefused(ValueError):
    """A file holds no key that can be used; the message says what was expected, what came, and what to do."""

    def __init__(self, path: Path, expected: str, got: str, remedy: str) -> None:
        super().__init__(f"expected {expected} in {path}, got {got}; {remedy}")


class SignatureRefused(ValueError):
    """A version is not signed by a key that is trusted, or is not what was signed."""


def read_private_key(path: Path) -> "Ed25519PrivateKey":
    """Read the key that signs.

    Raises:
        KeyRefused: the file holds none, or every user of this machine may read it.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    expected = "an Ed25519 private key without a password, in PEM"
    content = _read(path, expected)
    if b"PUBLIC KEY" in content:
        raise KeyRefused(path, expected, "a public key", "give the private one, which only who signs has")
    if path.stat().st_mode & stat.S_IROTH:
        raise KeyRefused(
            path, "a key that others cannot read", "one that they can", f"chmod 600 {path}, and consider it known"
        )
    try:
        key = load_pem_private_key(content, password=None)
    except TypeError as error:
        remedy = "take the password away: openssl pkey -in KEY.pem -out OPEN.pem, into a file that only you read"
        raise KeyRefused(path, expected, "one with a password", remedy) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyRefused(path, expected, "something else, or a damaged file", _MAKE_KEY) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyRefused(path, expected, f"a key of another kind ({_kind(key)})", _MAKE_KEY)
    return key


def key_files(folder: Path, *, may_be_empty: bool = False) -> list[Path]:
    """Return the files in a folder of public keys, but for those whose name begins with a dot.

    Raises:
        KeyRefused: it cannot be read, or is empty and may not be.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise KeyRefused(folder, "a folder of public keys", reason, "make it, and put a public key into it") from error
    if not paths and not may_be_empty:
        raise KeyRefused(folder, "a public key", "an empty folder", "openssl pkey -in KEY.pem -pubout -out NAME.pem")
    return paths


def by_id(keys: Iterable["Ed25519PublicKey"]) -> dict[str, "Ed25519PublicKey"]:
    """Return keys by what names them in signatures."""
    return {key_id(key): key for key in keys}


def key_id(key: "Ed25519PublicKey") -> str:
    """Return what names a key in signatures: the beginning of its checksum."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def sign_folder(folder: Path, policy: str, key: "Ed25519PrivateKey") -> Path:
    """Sign the version in `folder` as one of `policy`; return the file that holds its signatures.

    Signatures of other keys stay there, where they are of the same files.

    Raises:
        OSError: a file cannot be read or written.
    """
    digests = _digests(folder)
    path = folder / SIGNATURE_FILE
    name = key_id(key.public_key())
    signature = base64.b64encode(key.sign(statement(policy, digests))).decode()
    others = _other_signatures(path, policy, digests, name)
    content = {
        "format": FORMAT,
        "policy": policy,
        "sha256": digests,
        "signatures": [*others, {"key": name, "ed25519": signature}],
    }
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(json.dumps(content, indent=2) + "\n")
    partial.replace(path)
    return path


def check_signature(folder: Path, policy: str, keys: Mapping[str, "Ed25519PublicKey"]) -> str:
    """Return the id of the trusted key that signed the version in `folder` as one of `policy`.

    Raises:
        SignatureRefused: none did, or a file was changed since.
        OSError: the model or the golden observations cannot be read.
    """
    from cryptography.exceptions import InvalidSignature

    told = _signatures(folder / SIGNATURE_FILE)
    if told["policy"] != policy:
        got = str(told["policy"])[:100]
        raise SignatureRefused(f"signature: expected one for the policy {policy!r}, got one for {got!r}; sign it again")
    digests = _digests(folder)
    for name, sha256 in digests.items():
        if told["sha256"].get(name) != sha256:
            raise SignatureRefused(
                f"signature: {name} was changed after it was signed; sign it again if that was meant"
            )
    signed = statement(policy, digests)
    for signature in told["signatures"]:
        key = keys.get(signature["key"])
        if key is None:
            continue
        try:
            key.verify(base64.b64decode(signature["ed25519"]), signed)
        except (InvalidSignature, ValueError) as error:
            raise SignatureRefused(
                f"signature: that of the key {signature['key']} is not valid; sign it again"
            ) from error
        return str(signature["key"])
    by = ", ".join(str(signature["key"])[:16] for signature in told["signatures"][:5]) or "nobody"
    trusted = ", ".join(sorted(keys)) or "none is trusted now"
    raise SignatureRefused(f"signature: expected one by a trusted key ({trusted}), got one by {by}")


def statement(policy: str, digests: Mapping[str, str]) -> bytes:
    """Return what is signed, byte for byte."""
    files = "".join(f"sha256 {digests[name]} {name}\n" for name in sorted(digests))
    return f"polserve policy version, format {FORMAT}\npolicy {policy}\n{files}".encode()


def _digests(folder: Path) -> dict[str, str]:
    return {path.as_posix(): _sha256(folder / path) for path in _SIGNED}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _signatures(path: Path) -> dict[str, Any]:
    """Read a signature file; raises SignatureRefused where there is none, or another file."""
    remedy = "sign the version: polserve sign"
    content = b""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_SIGNATURE_BYTES + 1)
        told = json.loads(content[:MOST_SIGNATURE_BYTES])
    except FileNotFoundError as error:
        raise SignatureRefused(f"signature: expected {SIGNATURE_FILE}, got none; {remedy}") from error
    except (OSError, ValueError, RecursionError) as error:
        reason = (
            type(error).__name__ if len(content) <= MOST_SIGNATURE_BYTES else f"over {MOST_SIGNATURE_BYTES:,} bytes"
        )
        raise SignatureRefused(f"signature: {SIGNATURE_FILE} cannot be read ({reason}); {remedy}") from error
    if not _is_signature_file(told):
        raise SignatureRefused(f"signature: {SIGNATURE_FILE} has another form than `polserve sign` writes; {remedy}")
    return dict(told)


def _is_signature_file(told: Any) -> bool:
    return (
        isinstance(told, dict)
        and told.get("format") == FORMAT
        and isinstance(told.get("policy"), str)
        and isinstance(told.get("sha256"), dict)
        and isinstance(told.get("signatures"), list)
        and all(
            isinstance(one, dict) and isinstance(one.get("key"), str) and isinstance(one.get("ed25519"), str)
            for one in told["signatures"]
        )
    )


def _other_signatures(path: Path, policy: str, digests: Mapping[str, str], name: str) -> list[dict[str, str]]:
    """Return the signatures in a file that are of the same files and of other keys."""
    if not path.exists():
        return []
    try:
        told = _signatures(path)
    except SignatureRefused:  # what nobody could check is replaced
        return []
    if told["policy"] != policy or told["sha256"] != digests:
        return []
    return [one for one in told["signatures"] if one["key"] != name]


def read_public_key(path: Path) -> "Ed25519PublicKey":
    """Read a key that says who signed; raises KeyRefused where the file holds none."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    expected, remedy = "an Ed25519 public key, in PEM", "openssl pkey -in KEY.pem -pubout -out NAME.pem"
    content = _read(path, expected)
    if b"PRIVATE KEY" in content:
        raise KeyRefused(
            path, expected, "a private key", f"keep it where versions are signed, and put only this here: {remedy}"
        )
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyRefused(path, expected, "something else, or a damaged file", remedy) from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyRefused(path, expected, f"a key of another kind ({_kind(key)})", _MAKE_KEY)
    return key


def _read(path: Path, expected: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_KEY_BYTES)
    except OSError as error:
        raise KeyRefused(
            path, expected, error.strerror or type(error).__name__, "give a file that can be read"
        ) from error
    if not content.strip():
        raise KeyRefused(path, expected, "an empty file", _MAKE_KEY)
    return content


def _kind(key: object) -> str:
    return type(key).__name__.removeprefix("_").removesuffix("Key").removesuffix("Private").removesuffix("Public")
