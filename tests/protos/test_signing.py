"""A signature holds for the very files, policy and key that it was made with, and for nothing else."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from polserve.protos.shared.names import GOLDEN_FILE, MODEL_FILE
from polserve.protos.shared.signing import (
    MOST_SIGNATURE_BYTES,
    SIGNATURE_FILE,
    KeyRefused,
    SignatureRefused,
    by_id,
    check_signature,
    key_files,
    key_id,
    read_private_key,
    read_public_key,
    sign_folder,
)
from tests.support.signing import make_key, trust
from tests.support.versions import make_version

KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
TRUSTED = {key_id(KEY.public_key()): KEY.public_key()}
PEM, PKCS8 = Encoding.PEM, PrivateFormat.PKCS8


def read_trusted_keys(folder: Path) -> dict[str, Ed25519PublicKey]:
    """The keys in a folder, as a service that starts reads them."""
    return by_id(map(read_public_key, key_files(folder)))


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    """The folder of a signed version."""
    folder = make_version().write(tmp_path / "1")
    sign_folder(folder, "cartpole", KEY)
    return folder


def test_a_signed_version_is_known_by_the_key_that_signed_it(signed: Path) -> None:
    assert check_signature(signed, "cartpole", TRUSTED) == key_id(KEY.public_key())


@pytest.mark.parametrize("path", [Path(MODEL_FILE), GOLDEN_FILE], ids=str)
def test_a_file_with_one_other_bit_is_refused(signed: Path, path: Path) -> None:
    content = bytearray((signed / path).read_bytes())
    content[len(content) // 2] ^= 1
    (signed / path).write_bytes(content)
    with pytest.raises(SignatureRefused, match=f"signature: {path.as_posix()} was changed after it was signed"):
        check_signature(signed, "cartpole", TRUSTED)


def test_a_signature_of_another_policy_is_refused(signed: Path) -> None:
    with pytest.raises(
        SignatureRefused, match="expected one for the policy 'maze', got one for 'cartpole'; sign it again"
    ):
        check_signature(signed, "maze", TRUSTED)


def test_a_version_that_nobody_trusted_has_signed_is_refused(signed: Path) -> None:
    with pytest.raises(SignatureRefused, match=rf"by a trusted key \(\w+\), got one by {key_id(KEY.public_key())}"):
        check_signature(signed, "cartpole", {key_id(OTHER.public_key()): OTHER.public_key()})


def test_several_keys_may_sign_a_version_and_one_that_is_trusted_will_do(signed: Path) -> None:
    sign_folder(signed, "cartpole", OTHER)
    sign_folder(signed, "cartpole", OTHER)
    assert len(json.loads((signed / SIGNATURE_FILE).read_text())["signatures"]) == 2
    assert check_signature(signed, "cartpole", TRUSTED) == key_id(KEY.public_key())


def test_signatures_of_what_was_there_before_are_dropped(signed: Path) -> None:
    make_version(1).write(signed)
    sign_folder(signed, "cartpole", OTHER)
    with pytest.raises(SignatureRefused, match="got one by"):
        check_signature(signed, "cartpole", TRUSTED)


def change_policy(told: dict[str, Any]) -> None:
    told["policy"] = "maze"


def change_signature(told: dict[str, Any]) -> None:
    told["signatures"][0]["ed25519"] = told["signatures"][0]["ed25519"][::-1]


@pytest.mark.parametrize(
    ("change", "policy", "message"),
    [
        (change_policy, "maze", "is not valid"),
        (change_signature, "cartpole", "is not valid"),
        (lambda told: told.pop("signatures"), "cartpole", "has another form"),
        (lambda told: told.update(format=2), "cartpole", "has another form"),
        (lambda told: told["signatures"].clear(), "cartpole", "got one by nobody"),
    ],
)
def test_a_signature_file_that_was_changed_is_refused(
    signed: Path, change: Callable[[dict[str, Any]], object], policy: str, message: str
) -> None:
    told = json.loads((signed / SIGNATURE_FILE).read_text())
    change(told)
    (signed / SIGNATURE_FILE).write_text(json.dumps(told))
    with pytest.raises(SignatureRefused, match=message):
        check_signature(signed, policy, TRUSTED)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"expected extra_files/signatures\.json, got none; sign the version: polserve sign"),
        (b"", "cannot be read"),
        (b"{", "cannot be read"),
        (b"[]", "has another form"),
        (b"[" * 50_000, "cannot be read"),
        (b" " * (MOST_SIGNATURE_BYTES + 1), r"cannot be read \(over 65,536 bytes\)"),
    ],
)
def test_a_signature_file_that_is_none_is_refused(signed: Path, content: bytes | None, message: str) -> None:
    (signed / SIGNATURE_FILE).unlink()
    if content is not None:
        (signed / SIGNATURE_FILE).write_bytes(content)
    with pytest.raises(SignatureRefused, match=message):
        check_signature(signed, "cartpole", TRUSTED)


RSA = rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        (
            RSA.private_bytes(PEM, PKCS8, NoEncryption()),
            0o600,
            r"a key of another kind \(RSA\); make one: openssl genpkey",
        ),
        (KEY.private_bytes(PEM, PKCS8, BestAvailableEncryption(b"secret")), 0o600, "got one with a password; take the"),
        (
            KEY.public_key().public_bytes(PEM, PublicFormat.SubjectPublicKeyInfo),
            0o600,
            "got a public key; give the priv",
        ),
        (KEY.private_bytes(PEM, PKCS8, NoEncryption()), 0o644, "expected a key that others cannot read .* chmod 600"),
        (b"", 0o600, "got an empty file"),
        (
            b"-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----\n",
            0o600,
            "something else, or a damaged file",
        ),
        (None, 0o600, "got No such file or directory; give a file that can be read"),
    ],
)
def test_a_private_key_that_cannot_be_used_is_refused_by_a_sentence(
    tmp_path: Path, content: bytes | None, mode: int, message: str
) -> None:
    path = tmp_path / "key.pem"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    with pytest.raises(KeyRefused, match=message):
        read_private_key(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (KEY.private_bytes(PEM, PKCS8, NoEncryption()), "got a private key; keep it where versions are signed"),
        (RSA.public_key().public_bytes(PEM, PublicFormat.SubjectPublicKeyInfo), r"a key of another kind \(RSA\)"),
        (b"nonsense", "something else, or a damaged file"),
        (b"", "got an empty file"),
    ],
)
def test_a_folder_with_what_is_no_public_key_is_refused_by_a_sentence(
    tmp_path: Path, content: bytes, message: str
) -> None:
    folder = trust(tmp_path / "keys", KEY)
    (folder / "second.pem").write_bytes(content)
    with pytest.raises(KeyRefused, match=f"second.pem, {message}" if message.startswith("got") else message):
        read_trusted_keys(folder)


def test_a_folder_without_keys_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyRefused, match="got No such file or directory"):
        read_trusted_keys(tmp_path / "none")
    (tmp_path / "keys").mkdir()
    with pytest.raises(KeyRefused, match="got an empty folder; openssl pkey"):
        read_trusted_keys(tmp_path / "keys")


def test_keys_that_openssl_makes_sign_and_are_trusted(tmp_path: Path) -> None:
    private, folder = tmp_path / "key.pem", tmp_path / "keys"
    folder.mkdir()
    os.umask(os.umask(0o077) | 0o077)
    for command in (
        ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(private)],
        ["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(folder / "release.pem")],
    ):
        subprocess.run(command, check=True, capture_output=True)
    private.chmod(0o600)
    version = make_version().write(tmp_path / "1")
    sign_folder(version, "cartpole", read_private_key(private))
    assert check_signature(version, "cartpole", read_trusted_keys(folder))


def test_a_key_of_the_test_helpers_is_one_that_is_read(tmp_path: Path) -> None:
    key, path = make_key(tmp_path)
    assert read_private_key(path).public_key() == key.public_key()
