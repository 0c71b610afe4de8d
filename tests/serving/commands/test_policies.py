import json
from typing import Any

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.serving.client import LivePolicy
from polserve.serving.commands.described import HISTORY_LINES, describe, history_lines
from polserve.serving.commands.policies import client_parts
from tests.support.commands import polserve_here
from tests.support.running import Running


def live(name: str, **environment: list[str]) -> LivePolicy:
    spec = pb.PolicySpec(name=name, environment=pb.Environment(id="Mine-v0", **environment))  # type: ignore[arg-type]
    return LivePolicy.of(pb.LivePolicy(name=name, versions=[pb.LiveVersion(version="2", spec=spec)]))


def test_what_callers_do_as_wrappers_do_is_listed() -> None:
    plain = live("plain", graph_wrappers=["NormalizeObservation"])
    wrapped = live("wrapped", client_wrappers=["GrayscaleObservation", "ResizeObservation"])
    acting = live("acting", client_wrappers=["FilterObservation"], client_action_wrappers=["RescaleAction"])
    assert list(client_parts([plain, wrapped, acting])) == [
        "wrapped/2: send what GrayscaleObservation, ResizeObservation makes of an observation",
        "acting/2: send what FilterObservation makes of an observation; put the answer through RescaleAction",
    ]
    assert wrapped.versions[0].client_wrappers == ("GrayscaleObservation", "ResizeObservation")
    assert acting.versions[0].client_action_wrappers == ("RescaleAction",)


def test_one_policy_is_described_with_its_spec_and_where_it_comes_from(running: Running) -> None:
    told = polserve_here("policies", "cartpole", "--target", running.target, "--http", running.http_url)
    assert told.returncode == 0, told.stderr
    lines = told.stdout.splitlines()
    assert lines[0] == "cartpole/1 @champion"
    for line in ("environment  CartPole-v1", "action       2 actions (push left, push right)", "MLflow run   run-0"):
        assert line in lines
    assert any(line.startswith("pole angle") and " rad " in line for line in lines)
    assert lines[-1] == "no history: the service follows a folder, which keeps no record"


def test_the_commits_of_polserve_and_of_the_environment_are_told_apart() -> None:
    made = pb.Provenance(git_commit="abc", environment_git_commit="def-dirty")
    spec = pb.PolicySpec(name="own", provenance=made)
    policy = LivePolicy.of(pb.LivePolicy(name="own", versions=[pb.LiveVersion(version="1", spec=spec)]))
    lines = [line.split() for line in describe(policy, policy.versions[0])]
    assert ["git", "commit", "abc"] in lines
    assert ["environment's", "commit", "def-dirty"] in lines


def test_a_description_without_http_says_how_to_give_its_address(running: Running) -> None:
    told = polserve_here("policies", "cartpole@champion", "--target", running.target, "--http", "http://127.0.0.1:1")
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines()[-1].endswith("give the address of the HTTP port with --http")


def test_a_version_that_is_not_live_is_refused_with_those_that_are(running: Running) -> None:
    told = polserve_here("policies", "cartpole/7", "--target", running.target, "--http", running.http_url)
    assert told.returncode == 1
    assert "'cartpole' is not live as '7'; live are the versions 1 and the aliases @champion" in told.stderr


def test_a_description_in_json_holds_the_whole_spec_and_the_history(running: Running) -> None:
    told = polserve_here("policies", "cartpole/1", "--target", running.target, "--http", running.http_url, "--json")
    described = json.loads(told.stdout)
    assert described["live"]["spec"]["environment"]["id"] == "CartPole-v1"
    assert described["history"]["state"] == "none"


HISTORY: dict[str, Any] = {
    "state": "known",
    "moves": [
        {"version": "1", "at": "2026-01-01T00:00:00Z", "by": "polserve train by me", "is_rollback": False},
        {"version": "1", "at": "2026-01-03T00:00:00Z", "by": "polserve rollback by me", "is_rollback": True},
    ],
    "decisions": [
        {"version": "2", "champion": "1", "kind": "promoted", "at": "2026-01-02T00:00:00Z", "reason": "it is better"}
    ],
    "rollouts": [{"version": "2", "service": "web", "outcome": "refused", "at": "", "reason": "too slow"}],
    "problem": "",
}


def test_the_history_is_told_from_the_latest_on() -> None:
    assert list(history_lines(HISTORY)) == [
        "when (UTC)           version  what                why",
        "2026-01-03 00:00:00        1  rolled back to      polserve rollback by me",
        "2026-01-02 00:00:00        2  promoted against 1  it is better",
        "2026-01-01 00:00:00        1  became @champion    polserve train by me",
        "                           2  refused on web      too slow",
    ]


def test_a_long_history_is_cut_off_and_a_problem_is_said_first() -> None:
    lines = list(history_lines({**HISTORY, "problem": "gone for lunch", "moves": HISTORY["moves"][:1] * 40}))
    assert lines[0] == "the registry did not answer the last time: gone for lunch"
    assert len(lines) == 2 + HISTORY_LINES + 1
    assert lines[-1] == "and 12 before; --json has all"
