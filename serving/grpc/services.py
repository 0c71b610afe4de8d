"""The RPCs: convert, ask, convert back."""

import grpc

from protos.polserve.v1 import policy_pb2 as pb
from protos.polserve.v1 import policy_pb2_grpc
from serving.answering import Responder
from serving.catalog import Catalog
from serving.grpc.codec import decode_observation, encode_answer, encode_live


class PolicyService(policy_pb2_grpc.PolicyServiceServicer):
    """polserve.v1.PolicyService over the live versions."""

    def __init__(self, catalog: Catalog, responder: Responder) -> None:
        self._catalog = catalog
        self._responder = responder

    def Act(self, request: pb.ActRequest, _context: grpc.ServicerContext) -> pb.ActResponse:  # noqa: N802
        """Actions of a live version for one observation or a batch."""
        policy = self._responder.resolve(request.policy, request.version)
        batch = decode_observation(request, policy)
        explored = self._responder.act(policy, batch, with_values=request.with_values, epsilon=request.epsilon)
        return encode_answer(request, policy, explored)

    def ListPolicies(  # noqa: N802
        self, _request: pb.ListPoliciesRequest, _context: grpc.ServicerContext
    ) -> pb.ListPoliciesResponse:
        """Everything that is live."""
        live = self._catalog.live()
        return pb.ListPoliciesResponse(policies=[encode_live(live[name]) for name in sorted(live)])

    def GetPolicy(self, request: pb.GetPolicyRequest, _context: grpc.ServicerContext) -> pb.GetPolicyResponse:  # noqa: N802
        """One live policy."""
        return pb.GetPolicyResponse(policy=encode_live(self._catalog.policy(request.policy)))
