"""JSON web tokens are taken from the issuer alone, for this service alone, and in their time alone."""

import base64
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from polserve.serving.access.callers import Role
from polserve.serving.access.guard import AccessRules, Guard, Shown
from polserve.serving.access.keys import FetchedKeys, KeysAwaited, open_keys, parse_keys
from polserve.serving.access.web_tokens import WebTokenRules
from polserve.serving.errors import ConfigurationError, NotReady, PermissionDenied, Unauthenticated
from tests.support.running import free_port
from tests.support.web_tokens import AUDIENCE, ISSUER, Issuer, key_server, key_set

RULES = WebTokenRules(ISSUER, AUDIENCE)


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def guard(issuer: Issuer, tmp_path: Path) -> Guard:
    file = tmp_path / "keys.json"
    file.write_bytes(key_set(issuer))
    return Guard(AccessRules(web_tokens=RULES, key_place=str(file)))


def shown(token: str) -> Shown:
    return Shown(f"Bearer {token}".encode())


def unsigned(issuer: Issuer) -> str:
    return jwt.encode(issuer.claims(), "", "none", {"kid": issuer.key_id})


def signed_with_the_public_key(issuer: Issuer) -> str:
    """A token whose HS256 signature has the public key, which all know, as its secret."""
    public = issuer.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    header, claims = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "HS256", "kid": issuer.key_id}, issuer.claims())
    )
    algorithm = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signature = base64.urlsafe_b64encode(algorithm.sign(header + b"." + claims, public)).rstrip(b"=")
    return b".".join((header, claims, signature)).decode()


def forged(issuer: Issuer) -> str:
    return Issuer(issuer.key_id).token()


def test_a_valid_token_has_the_role_and_the_policies_of_its_claims(guard: Guard, issuer: Issuer) -> None:
    robot = guard.admit(Role.ACT, shown(issuer.token(policies=["cartpole", "maze-*"])))
    assert (robot.name, robot.role) == ("robot", Role.ACT)
    assert robot.policies is not None
    assert [robot.policies.sees(name) for name in ("cartpole", "maze-1", "mspacman")] == [True, True, False]
    assert guard.admit(Role.OBSERVE, shown(issuer.token(role="observe"))).policies is None
    assert guard.admit(Role.ACT, shown(issuer.token(role="mail polserve:act"))).role is Role.ACT
    for role in (None, "admin", ["none"], 7):
        with pytest.raises(PermissionDenied, match="got one with the role none"):
            guard.admit(Role.OBSERVE, shown(issuer.token(role=role)))


@pytest.mark.parametrize(
    ("token", "problem"),
    [
        (unsigned, "token is signed by an algorithm that its key is not for"),
        (signed_with_the_public_key, "token is signed by an algorithm that its key is not for"),
        (forged, "token's signature is wrong"),
        (lambda issuer: issuer.token(aud="other"), "token is for another audience"),
        (lambda issuer: issuer.token(iss="https://other.example"), "token has another issuer"),
        (lambda issuer: issuer.token(exp=time.time() - 1), "token has expired"),
        (lambda issuer: issuer.token(nbf=time.time() + 60), "token is not valid yet"),
        (lambda issuer: issuer.token(exp=None), "token lacks one of the claims"),
        (lambda issuer: issuer.token(aud=None), "token (lacks one of the claims|is for another)"),
        (lambda _issuer: Issuer("other").token(), "token's key is not among those of the issuer"),
        (lambda issuer: issuer.token()[:-20], "token's signature is wrong|token is not valid"),
        (lambda _issuer: "a.b.c", "token is not valid"),
    ],
)
def test_a_token_that_is_not_valid_is_refused_and_not_repeated(
    guard: Guard, issuer: Issuer, token: Callable[[Issuer], str], problem: str
) -> None:
    made = token(issuer)
    with pytest.raises(Unauthenticated, match=problem) as refusal:
        guard.admit(Role.ACT, shown(made))
    assert made not in str(refusal.value)
    assert not set(made.split(".")) & set(str(refusal.value).split())


def test_a_leeway_is_given_where_it_is_set_and_a_known_token_still_expires(
    issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(key_set(issuer))
    lenient = WebTokenRules(ISSUER, AUDIENCE, leeway_s=30.0, role_claim="access.polserve")
    guard = Guard(AccessRules(web_tokens=lenient, key_place=str(file)))
    token = issuer.token(exp=time.time() - 10, role=None, access={"polserve": "act"})
    assert guard.admit(Role.ACT, shown(token)).role is Role.ACT
    later = time.time() + 21
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(Unauthenticated, match="expired"):
        guard.admit(Role.ACT, shown(token))


def test_keys_of_a_file_are_read_again_when_it_changes(issuer: Issuer, tmp_path: Path) -> None:
    file, second = tmp_path / "keys.json", Issuer("second")
    file.write_bytes(key_set(issuer))
    guard = Guard(AccessRules(web_tokens=RULES, key_place=str(file)))
    with pytest.raises(Unauthenticated):
        guard.admit(Role.ACT, shown(second.token()))
    file.write_bytes(key_set(issuer, second)[:50])
    guard.look()
    guard.look()
    assert guard.admit(Role.ACT, shown(issuer.token())).name == "robot"
    file.write_bytes(key_set(issuer, second))
    guard.look()
    guard.look()
    assert guard.admit(Role.ACT, shown(second.token())).name == "robot"


def after_fetch(guard: Guard, token: str) -> Any:
    """Admit a caller, once the keys that this waits for have been fetched."""
    try:
        return guard.admit(Role.ACT, shown(token))
    except KeysAwaited as awaited:
        awaited.fetched.result(10)
        return guard.admit(Role.ACT, shown(token))


def test_a_key_that_is_not_known_is_fetched_once_and_not_for_each_call(issuer: Issuer) -> None:
    with key_server(key_set(issuer)) as keys:
        guard = Guard(AccessRules(web_tokens=RULES, key_place=keys.url))
        assert after_fetch(guard, issuer.token()).name == "robot"
        assert keys.n_asked == 1
        for _ in range(20):
            with pytest.raises(Unauthenticated, match="key is not among those of the issuer"):
                after_fetch(guard, Issuer("other").token())
        assert keys.n_asked == 1, "the keys have just been fetched"


def test_a_new_key_is_fetched_when_it_is_met_and_an_old_one_is_forgotten(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = Issuer("second")
    with key_server(key_set(issuer)) as keys:
        guard, known = Guard(AccessRules(web_tokens=RULES, key_place=keys.url)), issuer.token()
        assert after_fetch(guard, known).name == "robot"
        keys.contents = key_set(second)
        later = time.monotonic() + 60
        monkeypatch.setattr(time, "monotonic", lambda: later)
        assert after_fetch(guard, second.token()).name == "robot"
        assert keys.n_asked == 2
        with pytest.raises(Unauthenticated):
            after_fetch(guard, known)


def test_while_keys_cannot_be_fetched_callers_are_told_to_try_again() -> None:
    keys = FetchedKeys(f"http://127.0.0.1:{free_port()}/keys")
    with pytest.raises(KeysAwaited) as awaited:
        keys.find("first")
    awaited.value.fetched.result(10)
    with pytest.raises(NotReady, match="keys that tokens are checked with cannot be fetched"):
        keys.find("first")


def test_what_answers_with_no_http_in_the_place_of_keys_is_asked_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        keys = FetchedKeys(f"http://127.0.0.1:{server.getsockname()[1]}/keys")
        connection, _ = server.accept()
        with pytest.raises(KeysAwaited) as awaited:
            keys.find("first")
        with connection:
            connection.sendall(b"no HTTP\r\n\r\n")
        awaited.value.fetched.result(10)
        with pytest.raises(NotReady):
            keys.find("first")


@pytest.mark.parametrize(
    ("contents", "problem"),
    [
        (b"", "expected a JSON Web Key Set"),
        (b"[]", "expected a JSON Web Key Set"),
        (b'{"keys": [7]}', "expected a JSON Web Key Set"),
        (b'{"keys": []}', "expected a public key for one of"),
        (b'{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "x"}]}', "expected a public key for one of"),
        (b'{"keys": [{"kty": "RSA", "alg": "HS256", "n": "AQ", "e": "AQAB"}]}', "expected a public key for one of"),
    ],
)
def test_what_holds_no_public_keys_is_refused(contents: bytes, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        parse_keys(contents)


def test_keys_are_not_fetched_in_the_clear() -> None:
    with pytest.raises(ConfigurationError, match="jwt-keys: expected a file or an https:// address"):
        open_keys("http://issuer.example/keys")
    with pytest.raises(ConfigurationError, match="jwt-keys: expected a file that can be read"):
        open_keys("/missing/keys.json")
