"""The audit log: what is written stays whole, whoever rotates, fills or floods it."""

import json
import resource
import time
from pathlib import Path
from typing import Any

import pytest

from polserve.serving.audit import MOST_DENIED_PER_S, MOST_WAITING, AuditLog, open_audit
from polserve.serving.errors import ConfigurationError


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def wait_for(path: Path, n: int) -> list[dict[str, Any]]:
    """The lines of a file, once it has so many."""
    until = time.monotonic() + 20
    while not path.exists() or path.read_text().count("\n") < n:
        assert time.monotonic() < until
        time.sleep(0.01)
    return lines(path)


def test_each_event_is_a_json_object_on_a_line_of_its_own(tmp_path: Path) -> None:
    audit = AuditLog(str(tmp_path / "audit.jsonl"), "audit-log")
    audit("rollout_refused", policy="cartpole", reason='it says "no"\nand goes on')
    audit("call_denied", caller="robot")
    audit.close()
    first, second = lines(tmp_path / "audit.jsonl")
    assert first["event"] == "rollout_refused"
    assert first["reason"] == 'it says "no"\nand goes on'
    assert second["caller"] == "robot"
    assert first["time"] <= second["time"]
    assert first["time"].endswith("Z")


def test_a_file_that_is_moved_away_is_begun_anew_and_loses_nothing(tmp_path: Path) -> None:
    path, moved = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    audit = AuditLog(str(path), "audit-log")
    audit("first")
    wait_for(path, 1)
    path.rename(moved)
    audit("second")
    wait_for(path, 1)
    path.unlink()
    audit("third")
    audit.close()
    assert [line["event"] for line in lines(moved)] == ["first"]
    assert [line["event"] for line in lines(path)] == ["third"]


def test_two_processes_worth_of_writers_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audits = [AuditLog(str(path), "audit-log") for _ in range(2)]
    for i in range(200):
        audits[i % 2]("event", number=i, text="x" * 1000)
    for audit in audits:
        audit.close()
    assert sorted(line["number"] for line in lines(path)) == list(range(200))


def test_a_disk_that_is_full_holds_nobody_up_and_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    audit = AuditLog("/dev/full", "audit-log")
    for _ in range(2 * MOST_WAITING):
        audit("event")
    until = time.monotonic() + 20
    logged = ""
    while "audit_not_written" not in logged:
        assert time.monotonic() < until
        logged += capsys.readouterr().err
        time.sleep(0.01)
    audit.close()
    assert "No space left on device" in logged


def test_a_line_that_a_full_disk_cut_short_is_written_again_and_spoils_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "audit.jsonl"
    audit = AuditLog(str(path), "audit-log")
    room, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, most))
    try:
        audit("first", text="x" * 100)
        until = time.monotonic() + 20
        while path.stat().st_size < 50:
            assert time.monotonic() < until
            time.sleep(0.01)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
    audit("second")
    audit.close()
    assert "audit_not_written" in capsys.readouterr().err
    cut, *whole = path.read_text().splitlines()
    assert len(cut) == 50
    assert [json.loads(line)["event"] for line in whole] == ["first", "second"]


def test_strangers_cannot_fill_the_disk_and_what_was_left_out_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = AuditLog(str(path), "audit-log")
    n = 20 * MOST_DENIED_PER_S
    for _ in range(n):
        audit("call_denied", caller="unknown")
    audit("rollout_refused")
    audit.close()
    written = lines(path)
    assert len([line for line in written if line["event"] == "call_denied"]) < n
    assert [line["event"] for line in written].count("rollout_refused") == 1
    assert sum(line.get("left_out", 0) for line in written) + len(written) == n + 1


@pytest.mark.parametrize("place", ["", "/no/such/folder/audit.jsonl", "/"])
def test_a_file_that_cannot_be_written_is_refused_at_the_start(place: str) -> None:
    with pytest.raises(ConfigurationError, match="audit-log: expected a file that can be written, or stderr, got"):
        open_audit(place)


def test_standard_error_takes_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    audit = open_audit("stderr")
    assert audit is not None
    audit("rollout_prepared", policy="cartpole")
    audit.close()
    assert json.loads(capsys.readouterr().err)["policy"] == "cartpole"
