"""With --trusted-keys, a service takes only versions that one of the keys has signed."""

from pathlib import Path

import pytest

from polserve.protos.shared.names import MODEL_FILE
from polserve.protos.shared.signing import read_private_key, sign_folder
from polserve.serving.errors import ConfigurationError, RolloutRefused
from polserve.serving.trust import Trust
from polserve.serving.versions import VersionRef
from tests.support.commands import polserve_here
from tests.support.crashing import crashing_model
from tests.support.running import service, wait_until
from tests.support.signing import make_key, trust
from tests.support.versions import make_version


def test_a_folder_that_holds_no_key_ends_the_start_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^trusted-keys: expected a folder of public keys in .*, got No such file"
    ):
        Trust(tmp_path / "none")


UNSUPPORTED = """-----BEGIN PUBLIC KEY-----
MDIwEAYHKoZIzj0CAQYFK4EEAAYDHgAEg7kYAIsoKcBOWCUBqDzyBCtCcwtoRVBm
GGLcng==
-----END PUBLIC KEY-----
"""
"""A key on a curve that cryptography does not know: secp112r1."""


def settle(keys: Trust) -> None:
    """Look as often as it takes to see a change that is no longer going on."""
    for _ in range(2):
        keys.look()


def test_a_key_that_is_taken_away_is_trusted_no_longer_whatever_else_is_in_the_folder(tmp_path: Path) -> None:
    (key, private), (other, _) = make_key(tmp_path), make_key(tmp_path, "other")
    folder = trust(trust(tmp_path / "keys", key), other, "other")
    version = make_version()
    ref = VersionRef("cartpole", "1", version.write(tmp_path / "1"), version.sha256)
    sign_folder(ref.folder, "cartpole", read_private_key(private))
    keys = Trust(folder)
    keys.check(ref)
    (folder / "README").write_text("which keys are whose")
    (folder / "curve.pem").write_text(UNSUPPORTED)
    (folder / "release.pem").write_text("half a ke")
    assert not keys.is_stale
    settle(keys)
    assert keys.is_stale
    keys.check(ref)
    (folder / "release.pem").unlink()
    settle(keys)
    with pytest.raises(RolloutRefused, match="expected one by a trusted key"):
        keys.check(ref)


def test_nothing_is_trusted_where_the_only_key_is_taken_away_and_what_was_is_where_the_folder_is(
    tmp_path: Path,
) -> None:
    key, private = make_key(tmp_path)
    folder = trust(tmp_path / "keys", key)
    version = make_version()
    ref = VersionRef("cartpole", "1", version.write(tmp_path / "1"), version.sha256)
    sign_folder(ref.folder, "cartpole", read_private_key(private))
    keys = Trust(folder)
    folder.rename(tmp_path / "elsewhere")
    settle(keys)
    keys.check(ref)
    (tmp_path / "elsewhere").rename(folder)
    (folder / "release.pem").unlink()
    settle(keys)
    with pytest.raises(RolloutRefused, match=r"expected one by a trusted key \(none is trusted now\)"):
        keys.check(ref)
    trust(folder, key)
    settle(keys)
    keys.check(ref)


def test_unsigned_versions_are_refused(tmp_path: Path) -> None:
    key, _ = make_key(tmp_path)
    version = make_version()
    ref = VersionRef("cartpole", "1", version.write(tmp_path / "1"), version.sha256)
    with pytest.raises(RolloutRefused, match=r"signature: expected extra_files/signatures\.json, got none"):
        Trust(trust(tmp_path / "keys", key)).check(ref)


@pytest.mark.starts_processes
def test_what_nobody_signed_is_never_loaded(tmp_path: Path) -> None:
    key, _ = make_key(tmp_path)
    keys = trust(tmp_path / "keys", key)
    folder = tmp_path / "policies"
    make_version().write(folder / "cartpole" / "1")
    (folder / "cartpole" / "1" / MODEL_FILE).write_bytes(crashing_model())
    with service("--policies", str(folder), "--trusted-keys", str(keys), folder=tmp_path) as running:
        wait_until(lambda: "event=rollout_refused" in running.log.read_text(), running.log)
        assert "signature: expected" in running.log.read_text()
        assert "validator_lost" not in running.log.read_text()


@pytest.mark.acceptance
def test_signed_versions_go_live_and_go_when_their_key_does(tmp_path: Path) -> None:
    key, private = make_key(tmp_path)
    other, other_private = make_key(tmp_path, "other")
    keys = trust(tmp_path / "keys", key)
    folder = tmp_path / "policies"
    make_version().write(folder / "cartpole" / "1")
    options = ("--policies", str(folder), "--trusted-keys", str(keys), "--poll-interval", "0.1")
    with service(*options, folder=tmp_path) as running:
        wait_until(lambda: "event=rollout_refused" in running.log.read_text(), running.log)
        assert "signature: expected extra_files/signatures.json, got none; sign the version" in running.log.read_text()
        assert running.ready()["policies"] == {}

        signed = polserve_here("sign", str(folder / "cartpole" / "1"), "--key", str(private))
        assert signed.returncode == 0, signed.stderr
        wait_until(lambda: running.ready()["policies"] == {"cartpole": {"champion": "1"}}, running.log)

        make_version(1).write(folder / ".2")
        signed = polserve_here("sign", str(folder / ".2"), "--policy", "cartpole", "--key", str(other_private))
        assert signed.returncode == 0, signed.stderr
        (folder / ".2").rename(folder / "cartpole" / "2")
        wait_until(lambda: "got one by" in running.log.read_text(), running.log)
        assert running.ready()["policies"] == {"cartpole": {"champion": "1"}}

        trust(keys, other, "other")
        wait_until(lambda: running.ready()["policies"] == {"cartpole": {"champion": "2"}}, running.log)

        (keys / "other.pem").write_text("half a ke")
        wait_until(lambda: "event=not_reloaded" in running.log.read_text(), running.log)
        assert running.ready()["policies"] == {"cartpole": {"champion": "2"}}, "the last good keys go on"

        (keys / "other.pem").unlink()
        wait_until(lambda: running.ready()["policies"] == {"cartpole": {"champion": "1"}}, running.log)
        (withdrawn,) = running.ready()["withdrawn"]
        assert withdrawn["reason"].startswith("signature: expected one by a trusted key")

        trust(keys, other, "other")
        wait_until(lambda: running.ready()["policies"] == {"cartpole": {"champion": "2"}}, running.log)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("nowhere/cartpole/1", "--key", "KEY"),
            "expected the folder of a version, with model.onnx in it, got nowhere",
        ),
        (
            ("nowhere/cartpole/1", "--key", "none.pem"),
            "--key: expected an Ed25519 private key without a password, in PEM",
        ),
    ],
)
def test_what_cannot_be_signed_is_one_line(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    _, private = make_key(tmp_path)
    given = [str(private) if argument == "KEY" else argument for argument in arguments]
    ended = polserve_here("sign", *given)
    assert ended.returncode == 1
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
