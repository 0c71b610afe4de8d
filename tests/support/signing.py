"""Keys that sign versions."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


def make_key(folder: Path, name: str = "release") -> tuple[Ed25519PrivateKey, Path]:
    """A new key, and its file."""
    key = Ed25519PrivateKey.generate()
    path = folder / f"{name}-private.pem"
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return key, path


def trust(folder: Path, key: Ed25519PrivateKey, name: str = "release") -> Path:
    """The folder, in which the public part of the key lies."""
    folder.mkdir(exist_ok=True)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / f".{name}").write_bytes(public)
    (folder / f".{name}").rename(folder / f"{name}.pem")
    return folder
