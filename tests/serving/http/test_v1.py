"""The plain way for people: an action for whoever can send JSON."""

import json
import re
from typing import Any

import numpy as np
import pytest

from polserve.serving.client import PolicyClient
from polserve.serving.http.strict_json import MAX_JSON_BYTES, MOST_LISTS
from tests.support.http_calls import ask, post
from tests.support.running import Running
from tests.support.spaces import arms, make_arm_version, make_memory_version, played
from tests.support.versions import make_frames_version, make_version

ROWS = make_version().golden["observation"][:5]
ARMS = arms()[:4]
ACT = "/v1/policies/cartpole:act"


def as_json(observation: Any) -> Any:
    """An observation in parts as JSON has it."""
    if isinstance(observation, dict):
        return {key: as_json(value) for key, value in observation.items()}
    return [as_json(one) for one in observation] if isinstance(observation, tuple) else np.asarray(observation).tolist()


def test_an_observation_is_answered_as_over_grpc(over_http: Running) -> None:
    with PolicyClient(over_http.target) as client:
        for row in ROWS:
            over_grpc = client.act("cartpole", row, with_values=True)
            answer = post(over_http, ACT, observation=row.tolist(), with_values=True)
            assert answer.status == 200
            assert answer.headers["content-type"] == "application/json"
            assert answer.said == {
                "policy": "cartpole",
                "version": "1",
                "action": over_grpc.action.tolist(),
                "values": over_grpc.values.tolist() if over_grpc.values is not None else None,
            }


def test_a_batch_gets_an_action_for_each_observation(over_http: Running) -> None:
    expected = make_version().golden["action"][:5].tolist()
    assert post(over_http, ACT, observation=ROWS.tolist()).said["action"] == expected
    assert post(over_http, ACT, observation=ROWS[:1].tolist()).said["action"] == expected[:1]


def test_large_bodies_are_answered_as_small_ones(over_http: Running) -> None:
    frames = make_frames_version().golden
    answer = post(over_http, "/v1/policies/frames:act", observation=frames["observation"][:20].tolist())
    assert answer.said["action"] == frames["action"][:20].tolist()


@pytest.mark.parametrize("version", ["1", 1, "@champion", ""])
def test_the_version_is_a_number_or_an_alias(over_http: Running, version: str | int) -> None:
    assert post(over_http, ACT, observation=ROWS[0].tolist(), version=version).said["version"] == "1"


def test_exploration_is_told_for_each_observation(over_http: Running) -> None:
    answer = post(over_http, ACT, observation=ROWS.tolist(), epsilon=1.0).said
    assert answer["explored"] == [True] * len(ROWS)


def test_observations_in_parts_are_laid_out_by_the_spec(over_http: Running) -> None:
    expected = make_arm_version().golden["action"][: len(ARMS)].tolist()
    path = "/v1/policies/arm:act"
    assert post(over_http, path, observation=as_json(ARMS[0])).said["action"] == expected[0]
    assert post(over_http, path, observation=[as_json(arm) for arm in ARMS]).said["action"] == expected
    answer = post(over_http, path, observation={**as_json(ARMS[0]), "grip": [1, 2]})
    assert (answer.status, answer.said["error"].split(":")[0]) == (400, "observation['grip']")


def test_a_recurrent_policy_gets_back_what_it_remembered(over_http: Running) -> None:
    version = make_memory_version()
    steps = version.golden["observation"][:6]
    actions, state = [], ""
    for step in steps:
        answer = post(over_http, "/v1/policies/memory:act", observation=step.tolist(), state=state).said
        actions.append(answer["action"])
        state = answer["state"]
    assert actions == played(version, steps)


def test_a_budget_is_split(over_http: Running) -> None:
    channels = [{"name": "facebook", "spent_micros": [600_000_000]}, {"name": "instagram", "floor_micros": 1_000_000}]
    day = {"day": 3, "horizon_days": 30, "total_micros": 30_000_000_000, "remaining_micros": 27_000_000_000}
    answer = post(over_http, "/v1/policies/adbudget:allocate", channels=channels, **day).said
    spends = [each["spend_micros"] for each in answer["allocations"]]
    assert sum(spends) + answer["unspent_micros"] == day["remaining_micros"]
    assert [each["name"] for each in answer["allocations"]] == ["facebook", "instagram"]


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"day": "3"}, 'day: expected a whole number from -2147483648 to 2147483647, got "3"'),
        ({"day": 3.0}, "day: expected a whole number from -2147483648 to 2147483647, got 3.0"),
        ({"day": True}, "day: expected a whole number from -2147483648 to 2147483647, got true"),
        ({"remaining_micros": 2**63}, "remaining_micros: expected a whole number from "),
        ({"demand": "high"}, 'demand: expected a number that float64 holds, got "high"'),
        ({"remainingMicros": 1}, "body: expected the fields policy, version, day, "),
        ({"channels": {}}, "channels: expected a list, got an object of 0"),
        ({"channels": ["facebook"]}, 'channels[0]: expected a JSON object, got "facebook"'),
        ({"channels": [{"name": 1}]}, "channels[0].name: expected a text, got 1"),
        ({"channels": [{"name": "a", "spent_micros": [1, None]}]}, "channels[0].spent_micros[1]: expected a whole"),
        ({"horizon_days": 30}, "channels: expected each of facebook, instagram once, got none"),
    ],
)
def test_a_bad_day_of_a_budget_is_refused_with_its_field(over_http: Running, said: dict[str, Any], error: str) -> None:
    answer = post(over_http, "/v1/policies/adbudget:allocate", **said)
    assert answer.said["error"].startswith(error)
    assert (answer.status, answer.said["code"]) == (400, "INVALID_ARGUMENT")


def test_what_is_live_is_listed(over_http: Running) -> None:
    listed = ask(over_http, "/v1/policies").said["policies"]
    assert [each["name"] for each in listed] == ["adbudget", "arm", "cartpole", "frames", "memory"]
    one = ask(over_http, "/v1/policies/cartpole").said
    assert one == listed[2]
    assert one["aliases"] == {"champion": "1"}
    assert one["versions"][0]["spec"]["observation"]["shape"] == list(make_version().spec.observation.shape)
    assert one["versions"][0]["spec"]["action"]["discrete"]["n"] == 2


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "body: expected JSON, got nothing"),
        (b"[1, 2]", "body: expected a JSON object, got a list of 2"),
        (b'{"observation": [0, 0, 0', "body: expected JSON, got "),
        (b'{"observation": [0, 0, 0, NaN]}', "body: expected numbers as JSON has them, got NaN"),
        (b'{"observation": [0, 0, 0, -Infinity]}', "body: expected numbers as JSON has them, got -Infinity"),
        (b'{"observation": [0, 0, 0, 1e999]}', "observation: expected finite numbers, got inf at [3]"),
        (b'{"observation": [0, 0, 0, 1e300]}', "observation: expected numbers that float32 holds, got 1e+300 at"),
        (b'{"observation": [0, 0, 0, ' + b"9" * 400 + b"]}", "observation: expected finite numbers, got inf at [3]"),
        (b'{"observation": [0, 0, 0, ' + b"9" * 9000 + b"]}", "body: expected JSON, got Exceeds the limit"),
        (b"[" * 10_000 + b"]" * 10_000, "body: expected JSON of a reasonable depth, got hundreds of levels"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "body: expected JSON of a reasonable depth"),
        (b'{"observation": ' + b"[" * 100 + b"]" * 100 + b"}", "observation: expected "),
        (b"[" + b"[]," * MOST_LISTS + b"1]", f"body: expected at most {MOST_LISTS} lists and objects, got "),
        (b'{"observation": [0,0,0,0], "observation": [0,0,0,0]}', "body: expected each name once in an object, got"),
        (b'{"observation": [0,0,0,0], "a": {"b": 1, "b": 2}}', 'body: expected each name once in an object, got "b"'),
        (b'{"observation": [0, 0, 0, 0], "speed": 1}', "body: expected the fields observation, version, with_values, "),
        (b'{"version": "1"}', "observation: expected numbers: one observation, or a list of them, got none"),
        (b'{"observation": [0, 0, 0]}', "observation.shape: expected (4,) or (N, 4), got (3,)"),
        (b'{"observation": [9223372036854775808, 1, 1]}', "observation.shape: expected (4,) or (N, 4), got (3,)"),
        (b'{"observation": []}', "observation.shape: expected (4,) or (N, 4), got (0,)"),
        (
            b'{"observation": [0, 1%s, 0.5, 1]}' % (b"0" * 41),
            "observation: expected numbers that float32 holds, got 1e+41",
        ),
        (
            b'{"observation": [0, -1%s, 0, 1]}' % (b"0" * 400),
            "observation: expected finite numbers, got -inf at [1]",
        ),
        (
            b'{"observation": [[0, 0, 0, 0], [0, 0, 0]]}',
            "observation: expected numbers in lists of equal lengths, got lists of 3, 4",
        ),
        (
            b'{"observation": [[0, 0, 0, 0], 0]}',
            "observation: expected numbers in lists of equal lengths, got lists and numbers beside each other",
        ),
        (b'{"observation": [0, 0, 0, 9223372036854775809]}', "observation: expected whole numbers that float64 holds"),
        (
            b'{"observation": [-1, 0, 0, 18446744073709551617]}',
            "observation: expected whole numbers that float64 holds, got 18446744073709551617",
        ),
        (b" ", "body: expected JSON, got nothing"),
        (b'{"observation" 1}', "body: expected JSON, got something else at line 1, column 16: Expecting ':' delimiter"),
        (b'{"observation": [0, 0, 0, "\\ud800"]}', "observation: expected numbers, in lists of equal lengths, got"),
        (b'{"observation": [0, 0, 0, null]}', "observation: expected numbers, in lists of equal lengths, got null"),
        (b'{"observation": {"x": 0}}', "observation: expected numbers, in lists of equal lengths, got an object of 1"),
        (b'{"observation": "1234"}', 'observation: expected numbers, in lists of equal lengths, got "1234"'),
        (b'{"observation": [0,0,0,0], "version": true}', "version: expected a version such as"),
        (b'{"observation": [0,0,0,0], "version": "\\ud800"}', "version: expected a text that UTF-8 can write"),
        (b'{"observation": [0,0,0,0], "epsilon": 2}', "epsilon: expected a probability from 0 to 1, got 2"),
        (b'{"observation": [0,0,0,0], "epsilon": "a"}', 'epsilon: expected a probability from 0 to 1, got "a"'),
        (b'{"observation": [0,0,0,0], "with_values": 1}', "with_values: expected true or false, got 1"),
        (b'{"observation": [0,0,0,0], "state": "?"}', "state: expected the state of the answer before"),
        (b'{"observation": [0,0,0,0], "state": "AAAA"}', "state: expected "),
        (b"\xff\xfe", "body: expected JSON in UTF-8, got another byte at 0"),
    ],
)
def test_a_bad_body_is_refused_with_what_is_wrong(over_http: Running, body: bytes, said: str) -> None:
    answer = ask(over_http, ACT, body)
    assert answer.status == 400
    assert answer.said["code"] == "INVALID_ARGUMENT"
    assert answer.said["error"].startswith(said)


def test_a_body_made_to_take_memory_and_time_is_refused_as_any_other(over_http: Running) -> None:
    one_long_text = b'{"observation": ["' + b"a" * 10_000 + b'"' + b', ""' * 400_000 + b"]}"
    one_name_twice = b'{%s, "0": 0}' % b", ".join(b'"%d": 0' % i for i in range(120_000))
    for body, said in ((one_long_text, "observation: expected numbers"), (one_name_twice, "body: expected each name")):
        answer = ask(over_http, ACT, body)
        assert answer.status == 400
        assert answer.said["error"].startswith(said)


def test_what_is_not_live_is_not_found(over_http: Running) -> None:
    for path, said in ((ACT, {"version": "9"}), ("/v1/policies/go:act", {})):
        answer = post(over_http, path, observation=[0, 0, 0, 0], **said)
        assert (answer.status, answer.said["code"]) == (404, "NOT_FOUND")
    assert ask(over_http, "/v1/policies/go").status == 404
    assert ask(over_http, "/v1/policies/%3Cscript%3E").said["error"].startswith("policy: no policy '<script>' is live")
    unknown = ask(over_http, "/v1/nowhere")
    assert unknown.status == 404
    assert unknown.said["error"] == "path: expected one that /openapi.json lists, got /v1/nowhere"
    assert ask(over_http, ACT).status == 405


def test_a_body_that_is_too_large_is_refused(over_http: Running) -> None:
    answer = ask(over_http, ACT, b" " * (MAX_JSON_BYTES + 1))
    assert (answer.status, answer.said["code"]) == (413, "RESOURCE_EXHAUSTED")


def test_calls_over_http_are_counted_with_those_over_grpc(over_http: Running) -> None:
    def n_handled(code: str) -> float:
        found = re.findall(
            rf'^grpc_server_handled_total{{.*"{code}".*"Act".*}} (\S+)$', over_http.metrics(), re.MULTILINE
        )
        return sum(map(float, found))

    good, bad = n_handled("OK"), n_handled("INVALID_ARGUMENT")
    post(over_http, ACT, observation=[0, 0, 0, 0])
    post(over_http, ACT, observation=[0, 0, 0])
    assert (n_handled("OK"), n_handled("INVALID_ARGUMENT")) == (good + 1, bad + 1)


def test_every_request_is_counted_by_its_path_and_status(over_http: Running) -> None:
    def n_answered(path: str, status: int) -> float:
        series = rf'^polserve_http_requests_total{{path="{re.escape(path)}",status="{status}"}} (\S+)$'
        return sum(map(float, re.findall(series, over_http.metrics(), re.MULTILINE)))

    expected = [("/v1/policies/{name}:act", 200), ("/v1/policies/{name}:act", 400), ("other", 404)]
    before = [n_answered(*each) for each in expected]
    post(over_http, ACT, observation=[0, 0, 0, 0])
    ask(over_http, ACT, b"{")
    ask(over_http, "/v1/nowhere")
    assert [n_answered(*each) for each in expected] == [n + 1 for n in before]


def test_numbers_that_json_does_not_know_are_written_as_text(over_http: Running) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    listed = ask(over_http, "/v1/policies").body
    json.loads(listed, parse_constant=refuse)
