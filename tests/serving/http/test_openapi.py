"""/openapi.json describes every call that programs make."""

from typing import Any

import pytest

from polserve.protos.polserve.v1 import budget_pb2, policy_pb2
from polserve.serving.http.schemas import answer_schema, body_schema
from tests.support.http_calls import ask
from tests.support.running import Running


@pytest.fixture(scope="module")
def document(over_http: Running) -> Any:
    answer = ask(over_http, "/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    return answer.said


def test_every_call_is_described(document: Any) -> None:
    assert document["openapi"] == "3.1.0"
    assert {"/v1/policies", "/v1/policies/{name}:act", "/v2/models/{name}/versions/{version}/infer", "/readyz"} <= set(
        document["paths"]
    )


def test_each_operation_has_a_name_of_its_own(document: Any) -> None:
    names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names)) > 20
    assert {"act", "allocate", "list_policies", "get_policy"} <= set(names)


def test_schemas_of_messages_follow_the_proto_files() -> None:
    live = answer_schema(policy_pb2.LivePolicy)
    assert live["required"] == ["name", "aliases", "versions", "default_version"]
    assert live["properties"]["aliases"] == {"type": "object", "additionalProperties": {"type": "string"}}
    day = body_schema(budget_pb2.AllocateRequest)
    assert day["required"] == []
    assert day["properties"]["day"] == {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
