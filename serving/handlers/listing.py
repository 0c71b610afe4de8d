"""PolicyService.ListPolicies and GetPolicy: what is live."""

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.serving.access.callers import Caller
from polserve.serving.catalog import Catalog, CatalogEntry
from polserve.serving.handlers.base import Each
from polserve.serving.handlers.codec import encode_live


def list_policies(catalog: Catalog) -> Each:
    """Make the handler of ListPolicies."""

    def answer(_request: pb.ListPoliciesRequest, caller: Caller) -> pb.ListPoliciesResponse:
        live = catalog.live(caller.policies)
        return pb.ListPoliciesResponse(policies=[_encode(catalog, live[name]) for name in sorted(live)])

    return Each(pb.ListPoliciesRequest, answer)


def get_policy(catalog: Catalog) -> Each:
    """Make the handler of GetPolicy."""

    def answer(request: pb.GetPolicyRequest, caller: Caller) -> pb.GetPolicyResponse:
        return pb.GetPolicyResponse(policy=_encode(catalog, catalog.policy(request.policy, caller.policies)))

    return Each(pb.GetPolicyRequest, answer)


def _encode(catalog: Catalog, policy: CatalogEntry) -> pb.LivePolicy:
    return encode_live(policy, catalog.default(policy))
