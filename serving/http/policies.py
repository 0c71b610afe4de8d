"""The plain way for people: policies, their actions and allocations, as JSON under /v1."""

import functools

from google.protobuf.message import Message

from polserve.protos.polserve.v1 import budget_pb2, policy_pb2
from polserve.serving.access.callers import Role
from polserve.serving.calls import Calls
from polserve.serving.handlers.oip.plain import as_plain
from polserve.serving.http.acting import answer_json, lay_out, read_question
from polserve.serving.http.aside import Aside
from polserve.serving.http.message_json import read_message
from polserve.serving.http.messages import Answer
from polserve.serving.http.requests import Request
from polserve.serving.http.routes import Route
from polserve.serving.http.schemas import ACT_ANSWER, ACT_REQUEST, Operation, answer_schema, body_schema
from polserve.serving.http.strict_json import MAX_JSON_BYTES, dump, parse_object

ACT = "/polserve.v1.PolicyService/Act"
LIST = "/polserve.v1.PolicyService/ListPolicies"
GET = "/polserve.v1.PolicyService/GetPolicy"
ALLOCATE = "/polserve.v1.BudgetService/Allocate"

LISTING = Operation(answer_schema(policy_pb2.ListPoliciesResponse), name="list_policies")
GETTING = Operation(answer_schema(policy_pb2.LivePolicy), name="get_policy")
ACTING = Operation(ACT_ANSWER, ACT_REQUEST, {"observation": [0, 0, 0.1, 0.5], "with_values": True}, name="act")
SPLITTING = Operation(
    answer_schema(budget_pb2.AllocateResponse),
    body_schema(budget_pb2.AllocateRequest),
    name="allocate",
)


def policy_routes(calls: Calls) -> list[Route]:
    """Make the routes under /v1, which `calls` answers."""
    policies = Policies(calls)
    described = (
        ("GET", "", policies.list_all, "what is live: versions, aliases and specs", LISTING),
        ("GET", "/{name}", policies.get, "one live policy", GETTING),
        ("POST", "/{name}:act", policies.act, "the action for an observation, or for a batch", ACTING),
        ("POST", "/{name}:allocate", policies.allocate, "the split of a budget for one day", SPLITTING),
    )
    return [
        Route(method, f"/v1/policies{path}", endpoint, summary, Role.OBSERVE, operation)
        for method, path, endpoint, summary, operation in described
    ]


class Policies:
    """The endpoints under /v1."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._aside = Aside()

    async def list_all(self, request: Request) -> Answer:
        """Answer with every live policy."""
        response = await self._calls.ask(LIST, b"", request.asker)
        return _as_answer(policy_pb2.ListPoliciesResponse.FromString(response))

    async def get(self, request: Request) -> Answer:
        """Answer with one live policy."""
        return _as_answer(await self._live(request))

    async def act(self, request: Request) -> Answer:
        """Answer with the action of a policy, or with one for each observation of a batch."""
        body, name = await request.body(MAX_JSON_BYTES), request.parameters["name"]
        asked = await self._aside.run(len(body), functools.partial(read_question, name, body, self._calls.dtype_of))
        if asked.in_parts is not None:
            lay_out(asked, await self._live(request))
        response = await self._calls.ask(ACT, asked.request.SerializeToString(), request.asker)
        return Answer(await self._aside.run(len(response), functools.partial(answer_json, response)))

    async def allocate(self, request: Request) -> Answer:
        """Answer with the spend of each channel."""
        asked = budget_pb2.AllocateRequest()
        read_message(parse_object(await request.body(MAX_JSON_BYTES)), asked)
        asked.policy = request.parameters["name"]
        response = await self._calls.ask(ALLOCATE, asked.SerializeToString(), request.asker)
        return _as_answer(budget_pb2.AllocateResponse.FromString(response))

    async def _live(self, request: Request) -> policy_pb2.LivePolicy:
        """Return what is live of the policy that the path names; raises Rejected where nothing is."""
        asked = policy_pb2.GetPolicyRequest(policy=request.parameters["name"])
        response = await self._calls.ask(GET, asked.SerializeToString(), request.asker)
        return policy_pb2.GetPolicyResponse.FromString(response).policy


def _as_answer(message: Message) -> Answer:
    return Answer(dump(as_plain(message)))
