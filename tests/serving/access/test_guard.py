"""The guard knows callers by what they show, and tells those who may not from those who are not known."""

import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from polserve.serving.access.access_file import add_token
from polserve.serving.access.callers import ANYBODY, Role
from polserve.serving.access.guard import FAILURES_AT_ONCE, AccessRules, Guard, Shown
from polserve.serving.errors import Overloaded, PermissionDenied, Unauthenticated
from polserve.serving.request_ids import RequestId

CERTIFICATES = """
[[certificate]]
name = "spiffe://example/robot"
role = "act"
policies = ["cartpole"]

[[certificate]]
name = "monitor"
role = "observe"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "access.toml"


def shown(token: str = "", **more: object) -> Shown:
    return Shown(f"Bearer {token}".encode() if token else b"", **more)  # type: ignore[arg-type] # its own fields


def test_without_rules_everybody_may_do_everything() -> None:
    guard = Guard(AccessRules())
    assert guard.is_open
    assert guard.admit(Role.ACT, shown()) is ANYBODY


def test_each_role_may_do_what_it_is_for(file: Path) -> None:
    tokens = {role: add_token(file, role, role, [], None) for role in ("act", "observe", "none")}
    counted = Counter[str]()
    guard = Guard(AccessRules(file), lambda reason: counted.update([reason]))
    assert guard.admit(Role.ACT, shown(tokens["act"])).name == "act"
    assert guard.admit(Role.OBSERVE, shown(tokens["observe"])).role is Role.OBSERVE
    assert guard.admit(Role.NONE, shown(tokens["none"])).name == "none"
    for needs, role in ((Role.ACT, "observe"), (Role.ACT, "none"), (Role.OBSERVE, "none")):
        with pytest.raises(PermissionDenied, match=f"expected a caller who may .*, got one with the role {role}"):
            guard.admit(needs, shown(tokens[role]))
    with pytest.raises(Unauthenticated, match="there is no such header"):
        guard.admit(Role.OBSERVE, shown())
    with pytest.raises(Unauthenticated, match="the token is not known here"):
        guard.admit(Role.ACT, shown("polserve_other"))
    with pytest.raises(Unauthenticated, match="it has another form"):
        guard.admit(Role.ACT, Shown(b"Basic cm9ib3Q6eA=="))
    assert counted == {"role": 3, "none": 1, "unknown": 1, "form": 1}


def test_a_stranger_may_ask_for_health_and_sees_no_policy(file: Path) -> None:
    add_token(file, "robot", "act", [], None)
    guard = Guard(AccessRules(file))
    for stranger in (guard.admit(Role.NONE, shown()), guard.admit(Role.NONE, shown("polserve_other"))):
        assert stranger.policies is not None
        assert not stranger.policies.sees("cartpole")


def test_callers_who_show_nothing_may_be_let_in(file: Path) -> None:
    add_token(file, "robot", "act", [], None)
    guard = Guard(AccessRules(file, anonymous=Role.OBSERVE))
    assert guard.admit(Role.OBSERVE, shown()).policies is None
    with pytest.raises(Unauthenticated):
        guard.admit(Role.ACT, shown())
    with pytest.raises(Unauthenticated, match="not known"):
        guard.admit(Role.OBSERVE, shown("polserve_other"))


def test_a_certificate_is_known_by_each_of_its_names_and_a_token_counts_more(file: Path) -> None:
    token = add_token(file, "viewer", "observe", [], None)
    file.write_text(file.read_text() + CERTIFICATES)
    guard = Guard(AccessRules(file, is_mutual=True))
    robot = guard.admit(Role.ACT, shown(certificate=("spiffe://example/robot", "some.host")))
    assert robot.policies is not None
    assert robot.policies.sees("cartpole")
    assert not robot.policies.sees("mspacman")
    with pytest.raises(PermissionDenied):
        guard.admit(Role.ACT, shown(certificate=("monitor",)))
    with pytest.raises(PermissionDenied):
        guard.admit(Role.ACT, shown(token, certificate=("spiffe://example/robot",)))
    with pytest.raises(PermissionDenied, match="got one with the role none"):
        guard.admit(Role.OBSERVE, shown(certificate=("somebody",)))


def test_where_certificates_are_all_that_is_asked_each_of_the_authority_may_act() -> None:
    guard = Guard(AccessRules(is_mutual=True))
    assert guard.admit(Role.ACT, shown(certificate=("robot",))).name == "robot"
    assert guard.admit(Role.ACT, shown(is_local=True)) is ANYBODY, "the socket's file has let them in"
    with pytest.raises(Unauthenticated, match="certificate: expected a client certificate that is valid here"):
        guard.admit(Role.ACT, shown())


def test_a_token_that_expires_is_known_no_longer(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = add_token(file, "robot", "act", [], datetime.fromtimestamp(time.time() + 60, UTC))
    guard = Guard(AccessRules(file))
    assert guard.admit(Role.ACT, shown(token)).name == "robot"
    later = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(Unauthenticated, match="the token has expired"):
        guard.admit(Role.ACT, shown(token))


def test_a_file_that_changes_is_taken_and_one_that_is_cut_off_is_not(file: Path) -> None:
    old = add_token(file, "old", "act", [], None)
    guard = Guard(AccessRules(file))
    assert guard.admit(Role.ACT, shown(old)).name == "old"
    whole = file.read_text()
    file.write_text(whole[: len(whole) // 2])
    guard.look()
    guard.look()
    assert guard.admit(Role.ACT, shown(old)).name == "old", "the last good one goes on"
    file.unlink()
    guard.look()
    guard.look()
    assert guard.admit(Role.ACT, shown(old)).name == "old"
    new = add_token(file, "new", "act", [], None)
    guard.look()
    guard.look()
    assert guard.admit(Role.ACT, shown(new)).name == "new"
    with pytest.raises(Unauthenticated):
        guard.admit(Role.ACT, shown(old))


def test_a_caller_who_is_taken_back_or_may_do_something_else_is_revoked(file: Path) -> None:
    tokens = {name: add_token(file, name, "act", [], None) for name in ("stays", "goes", "changes")}
    guard = Guard(AccessRules(file))
    callers = {name: guard.admit(Role.ACT, shown(token)) for name, token in tokens.items()}
    entries = file.read_text().split("\n\n")
    file.write_text("\n\n".join([entries[0], entries[2].replace('"act"', '"observe"')]))
    guard.look()
    guard.look()
    assert {name: caller.is_valid(time.time()) for name, caller in callers.items()} == {
        "stays": True,
        "goes": False,
        "changes": False,
    }
    assert guard.admit(Role.ACT, shown(tokens["stays"])).name == "stays"


def test_an_address_that_shows_wrong_tokens_is_slowed_down_and_others_are_not(file: Path) -> None:
    good = add_token(file, "robot", "act", [], None)
    guard = Guard(AccessRules(file))
    wrong = shown("polserve_wrong", address="192.0.2.1")
    for _ in range(int(FAILURES_AT_ONCE)):
        with pytest.raises(Unauthenticated):
            guard.admit(Role.ACT, wrong)
    refusals = []
    for _ in range(int(FAILURES_AT_ONCE)):  # what the address has left grows meanwhile
        with pytest.raises((Unauthenticated, Overloaded)) as refusal:
            guard.admit(Role.ACT, wrong)
        refusals.append(str(refusal.value))
    assert any("too many calls from this address show nothing valid" in text for text in refusals)
    assert guard.admit(Role.ACT, shown(good, address="192.0.2.1")).name == "robot"
    with pytest.raises(Unauthenticated):
        guard.admit(Role.ACT, shown("polserve_wrong", address="192.0.2.2"))


def test_callers_with_the_same_policies_are_answered_together(file: Path) -> None:
    tokens = [add_token(file, name, "act", ["cartpole", "maze"], None) for name in ("one", "two")]
    guard = Guard(AccessRules(file))
    one, two = (guard.admit(Role.ACT, shown(token)) for token in tokens)
    assert one.policies is two.policies


def test_a_caller_who_calls_too_often_is_told_when_to_try_again_and_others_are_answered(file: Path) -> None:
    tokens = [add_token(file, name, "act", [], None) for name in ("one", "two")]
    guard = Guard(AccessRules(file, max_call_rate=0.01))
    assert guard.admit(Role.ACT, shown(tokens[0], address="192.0.2.1")).name == "one"
    with pytest.raises(Overloaded, match=r"this caller makes more than 0\.01 calls a second; try again in") as refusal:
        guard.admit(Role.ACT, shown(tokens[0], address="192.0.2.2"))
    assert 90 < refusal.value.retry_after_s <= 100
    assert guard.admit(Role.ACT, shown(tokens[1], address="192.0.2.1")).name == "two"
    assert guard.admit(Role.NONE, shown(tokens[0])).name == "one", "health is always told"
    assert guard.admit(Role.ACT, shown(tokens[0]), is_paced=False).name == "one", "a part of a request over HTTP"


def test_where_nobody_shows_who_they_are_an_address_may_call_so_often() -> None:
    guard = Guard(AccessRules(max_call_rate=0.01))
    assert not guard.is_open
    assert guard.admit(Role.ACT, shown(address="192.0.2.1")) is ANYBODY
    with pytest.raises(Overloaded, match="this address makes more than"):
        guard.admit(Role.ACT, shown("whatever", address="192.0.2.1"))
    assert guard.admit(Role.ACT, shown(address="192.0.2.2")) is ANYBODY


def test_who_is_denied_is_named_in_the_log_and_to_auditors_with_the_id_of_the_call(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_token(file, "robot", "act", [], None)
    told: list[tuple[str, dict[str, object]]] = []
    guard = Guard(AccessRules(file), audit=lambda event, **fields: told.append((event, fields)))
    with pytest.raises(Unauthenticated):
        guard.admit(Role.ACT, shown("secret", address="10.0.0.7", request_id=RequestId("order-4711")))
    ((event, fields),) = told
    assert event == "call_denied"
    assert fields["request_id"] == "order-4711"
    assert fields["client"] == "10.0.0.7"
    logged = capsys.readouterr().err
    assert "event=call_denied" in logged
    assert "request_id=order-4711" in logged
    assert "secret" not in f"{logged} {fields}"
