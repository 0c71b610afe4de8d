"""An access file says who may do what, by hashes; one that says something else is refused with what was expected."""

import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from polserve.serving.access.access_file import add_token, hash_of, make_token, read_access_file
from polserve.serving.access.callers import Role
from polserve.serving.errors import ConfigurationError
from tests.support.running import polserve

HASH = hash_of("secret")
TOKEN = f'[[token]]\nname = "robot"\nsha256 = "{HASH}"\nrole = "act"\n'


def test_a_token_that_was_added_is_known_and_stands_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "access.toml"
    first = add_token(file, "robot", "act", ["cartpole", "maze-*"], datetime(2100, 1, 1, tzinfo=UTC))
    second = add_token(file, "viewer", "observe", [], None)
    told = read_access_file(file)
    robot, viewer = told.caller_of_token(first.encode()), told.caller_of_token(second.encode())
    assert robot is not None
    assert viewer is not None
    assert (robot.name, robot.role, viewer.name, viewer.role) == ("robot", Role.ACT, "viewer", Role.OBSERVE)
    assert robot.policies is not None
    assert [robot.policies.sees(name) for name in ("cartpole", "maze-7", "mspacman")] == [True, True, False]
    assert robot.expires_at == datetime(2100, 1, 1, tzinfo=UTC).timestamp()
    assert viewer.policies is None
    assert told.caller_of_token(b"polserve_other") is None
    assert first not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [file]


def test_of_tokens_that_are_added_at_once_none_is_lost(tmp_path: Path) -> None:
    file, names = tmp_path / "access.toml", [f"robot-{i}" for i in range(24)]
    with ThreadPoolExecutor(8) as pool:
        tokens = list(pool.map(lambda name: add_token(file, name, "act", [], None), names))
    told = read_access_file(file)
    callers = [told.caller_of_token(token.encode()) for token in tokens]
    assert [caller and caller.name for caller in callers] == names
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_to_nothing_becomes_a_file(tmp_path: Path) -> None:
    file = tmp_path / "access.toml"
    file.symlink_to(tmp_path / "gone.toml")
    token = add_token(file, "robot", "act", [], None)
    assert read_access_file(file).caller_of_token(token.encode()) is not None
    assert list(tmp_path.iterdir()) == [file]


def test_tokens_are_long_and_never_the_same() -> None:
    tokens = {make_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(token.startswith("polserve_") and len(token) > 50 for token in tokens)


def test_a_name_that_is_taken_is_refused_and_the_file_stays(tmp_path: Path) -> None:
    file = tmp_path / "access.toml"
    add_token(file, "robot", "act", [], None)
    before = file.read_text()
    with pytest.raises(ConfigurationError, match="token 2: expected a name that no other token has, got 'robot'"):
        add_token(file, "robot", "act", [], None)
    with pytest.raises(ConfigurationError, match="name: expected text without spaces, quotes and backslashes"):
        add_token(file, 'ro"bot', "act", [], None)
    with pytest.raises(ConfigurationError, match="access: expected a file that can be written"):
        add_token(tmp_path / "missing" / "access.toml", "robot", "act", [], None)
    assert file.read_text() == before
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "access: expected a file with contents, got .*, which is empty"),
        ("# nobody yet\n", r"expected a \[\[token\]\] or a \[\[certificate\]\] in .*, got neither"),
        ("robot: act\n", "access: expected TOML in"),
        (f"[tokens]\n{TOKEN}", r"expected \[\[token\]\] and \[\[certificate\]\] in .*, got 'tokens'"),
        ('[token]\nname = "robot"\n', r"expected \[\[token\]\], in two brackets"),
        (TOKEN.replace("act", "admin"), "token 1, role: expected act, observe or none, in quotes, got 'admin'"),
        (TOKEN.replace('role = "act"', ""), "token 1, role: expected act, observe or none, in quotes, got none"),
        (TOKEN.replace(HASH, "secret"), "token 1, sha256: expected 64 hexadecimal digits, .*, got something else$"),
        (TOKEN.replace('name = "robot"', ""), "token 1, name: expected text .*, got none"),
        (TOKEN + 'policies = "cartpole"\n', r"policies: expected names of policies such as \[.*\], got 'cartpole'"),
        (TOKEN + "expires = 2030-01-31\n", "expires: expected a time with its zone and .*, got 2030-01-31"),
        (TOKEN + 'expires = "2030-01-31T00:00:00Z"\n', "expires: expected .* without quotes, .*, got '2030-01-31T"),
        (TOKEN + TOKEN.replace("robot", "other"), "token 2, sha256: expected that of a token that no other entry has"),
        (TOKEN + 'token = "polserve_x"\n', "token 1: expected expires, name, policies, role, sha256, got 'token'"),
        (TOKEN + TOKEN, "token 2: expected a name that no other token has, got 'robot'"),
    ],
)
def test_a_file_that_says_something_else_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "access.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=problem):
        read_access_file(file)


def test_a_service_with_a_file_that_it_cannot_use_does_not_start(tmp_path: Path) -> None:
    empty = tmp_path / "access.toml"
    empty.touch()
    for path, problem in ((empty, "which is empty"), (tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        refused = polserve("serve", "--access", str(path), "--http-port", "0", "--grpc-port", "0")
        assert refused.returncode == 2
        assert refused.stderr.startswith("error: access: expected a file")
        assert problem in refused.stderr


def test_a_hash_may_be_written_in_capitals(tmp_path: Path) -> None:
    file = tmp_path / "access.toml"
    file.write_text(TOKEN.replace(HASH, HASH.upper()))
    assert read_access_file(file).tokens.keys() == {bytes.fromhex(HASH)[:4]}
