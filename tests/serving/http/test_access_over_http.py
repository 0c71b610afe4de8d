"""Over HTTP the same callers may do the same as over gRPC, and probes are answered to everybody."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from polserve.serving.access.access_file import add_token
from tests.conftest import KINDS
from tests.support.http_calls import ask
from tests.support.running import Running, service, wait_until

OBSERVATION = b'{"observation": [0, 0, 0.1, 0.5]}'


@pytest.fixture(scope="module")
def access_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("access") / "access.toml"


@pytest.fixture(scope="module")
def bearers(access_file: Path) -> Mapping[str, str]:
    """The value of `authorization` for each kind of caller."""
    made = {
        "act": add_token(access_file, "act", "act", [], None),
        "narrow": add_token(access_file, "narrow", "act", ["cartpole", "nobod*"], None),
        "observe": add_token(access_file, "observe", "observe", [], None),
    }
    return {name: f"Bearer {token}" for name, token in made.items()}


@pytest.fixture(scope="module", params=["nghttp2", "two-processes"])
def guarded(
    request: pytest.FixtureRequest, policies: Path, access_file: Path, bearers: Mapping[str, str]
) -> Iterator[Running]:
    assert bearers
    options = ("--policies", str(policies), "--access", str(access_file), *KINDS[request.param])
    with service(*options, folder=access_file.parent) as running:
        wait_until(running.is_up, running.log)
        yield running


def test_an_action_is_for_those_who_may_act(guarded: Running, bearers: Mapping[str, str]) -> None:
    path = "/v1/policies/cartpole:act"
    assert ask(guarded, path, OBSERVATION, authorization=bearers["act"]).said["version"] == "1"
    assert ask(guarded, path, OBSERVATION, authorization=bearers["observe"]).status == 403
    refusals = [ask(guarded, path, OBSERVATION, authorization=text) for text in ("Bearer wrong", "Basic x")]
    for refused in (ask(guarded, path, OBSERVATION), *refusals):
        assert (refused.status, refused.said["code"]) == (401, "UNAUTHENTICATED")
        assert refused.headers["www-authenticate"] == "Bearer"
        assert b"wrong" not in refused.body


def test_a_policy_that_one_may_not_see_is_like_one_that_is_not_there(
    guarded: Running, bearers: Mapping[str, str]
) -> None:
    def told(path: str, name: str, body: bytes | None) -> tuple[int, bytes]:
        answered = ask(guarded, path.format(name), body, authorization=bearers["narrow"])
        return answered.status, answered.body.replace(name.encode(), b"NAME")

    for path, body in (("/v1/policies/{}:act", OBSERVATION), ("/v1/policies/{}", None)):
        assert told(path, "frames", body) == told(path, "nobody", body)
    listed = ask(guarded, "/v1/policies", authorization=bearers["narrow"]).said
    assert [policy["name"] for policy in listed["policies"]] == ["cartpole"]


def test_probes_are_answered_to_everybody_and_name_policies_to_those_who_see_them(
    guarded: Running, bearers: Mapping[str, str]
) -> None:
    assert ask(guarded, "/livez").status == 200
    stranger = ask(guarded, "/readyz").said
    narrow, whole = (ask(guarded, "/readyz", authorization=bearers[name]).said for name in ("narrow", "observe"))
    assert [stranger["ready"], list(stranger["policies"])] == [True, []]
    assert list(narrow["policies"]) == ["cartpole"]
    assert list(whole["policies"]) == ["cartpole", "frames"]


def test_pages_that_name_policies_are_for_those_who_may_see_them(guarded: Running, bearers: Mapping[str, str]) -> None:
    assert ask(guarded, "/").status == ask(guarded, "/metrics").status == 401
    assert b"polserve_build_info" in ask(guarded, "/metrics", authorization=bearers["observe"]).body
    narrow = ask(guarded, "/metrics", authorization=bearers["narrow"])
    assert narrow.status == 403
    assert "expected a caller who may observe every policy" in narrow.said["error"]
    home = ask(guarded, "/", authorization=bearers["narrow"])
    assert b"cartpole" in home.body
    assert b"frames" not in home.body


def test_the_console_asks_everybody_in_and_shows_each_only_their_policies(
    guarded: Running, bearers: Mapping[str, str]
) -> None:
    narrow = bearers["narrow"]
    assert ask(guarded, "/console/main.js").status == 200
    assert ask(guarded, "/console/rollouts.json").status == 401
    tried = ask(guarded, "/console/rollouts.json", authorization=narrow).said["rollouts"]
    assert {one["policy"] for one in tried} == {"cartpole"}
    hidden, missing = (
        ask(guarded, f"/v1/policies/{name}/history", authorization=narrow) for name in ("frames", "nobody")
    )
    assert hidden.status == missing.status == 404
    assert hidden.said["error"].replace("frames", "nobody") == missing.said["error"]


def test_metrics_may_be_open_while_nothing_else_is(policies: Path, access_file: Path, tmp_path: Path) -> None:
    options = ("--policies", str(policies), "--access", str(access_file), "--metrics-access", "open")
    with service(*options, folder=tmp_path) as running:
        wait_until(running.is_up, running.log)
        assert b"polserve_build_info" in ask(running, "/metrics").body
        assert ask(running, "/").status == 401
