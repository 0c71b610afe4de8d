"""The RPCs: convert, ask, convert back. Handlers take and give bytes, so that a bad message is answered as our own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.serving.catalog import Catalog, LivePolicy
from polserve.serving.grpc.act import ActHandler, ThreadCall
from polserve.serving.grpc.budget import BudgetService
from polserve.serving.grpc.codec import encode_live, parse_small
from polserve.serving.grpc.episode import EpisodeHandler


@dataclass(frozen=True, slots=True)
class Services:
    """What a server answers."""

    policy: "PolicyService"
    budget: BudgetService


class PolicyService:
    """polserve.v1.PolicyService over the live versions."""

    NAME = pb.DESCRIPTOR.services_by_name["PolicyService"].full_name

    def __init__(self, catalog: Catalog, act: ActHandler, episode: EpisodeHandler) -> None:
        self.act = act
        self._catalog = catalog
        self._episode = episode

    def handlers(self) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
        """The handler of each method, by its name."""
        return {
            "Act": grpc.unary_unary_rpc_method_handler(self._act),
            "Episode": grpc.stream_stream_rpc_method_handler(self._episode),
            "ListPolicies": _unary(pb.ListPoliciesRequest, self._list_policies),
            "GetPolicy": _unary(pb.GetPolicyRequest, self._get_policy),
        }

    def _act(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        call = ThreadCall(message, context)
        self.act.handle_one(call)
        return call.wait()

    def _list_policies(self, _request: pb.ListPoliciesRequest) -> pb.ListPoliciesResponse:
        live = self._catalog.live()
        return pb.ListPoliciesResponse(policies=[self._encode(live[name]) for name in sorted(live)])

    def _get_policy(self, request: pb.GetPolicyRequest) -> pb.GetPolicyResponse:
        return pb.GetPolicyResponse(policy=self._encode(self._catalog.policy(request.policy)))

    def _encode(self, policy: LivePolicy) -> pb.LivePolicy:
        return encode_live(policy, self._catalog.default(policy))


def _unary(kind: type[Any], answer: Callable[[Any], Any]) -> "grpc.RpcMethodHandler[Any, Any]":
    def handle(message: bytes, _context: grpc.ServicerContext) -> bytes:
        response: bytes = answer(parse_small(kind, message)).SerializeToString()
        return response

    return grpc.unary_unary_rpc_method_handler(handle)
