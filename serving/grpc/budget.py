"""polserve.v1.BudgetService: convert, ask, put into the ledger, convert back."""

from typing import Any

import grpc

from polserve.protos.polserve.v1 import budget_pb2 as pb
from polserve.serving.allocation import ChannelDay, Day
from polserve.serving.answering import Responder
from polserve.serving.errors import InvalidRequest
from polserve.serving.grpc.codec import parse_small
from polserve.serving.ledger import Binding, Spend, allocate

_BOUNDS = {
    Binding.NONE: pb.BOUND_NONE,
    Binding.FLOOR: pb.BOUND_FLOOR,
    Binding.CAP: pb.BOUND_CAP,
    Binding.BUDGET: pb.BOUND_BUDGET,
}


class BudgetService:
    """polserve.v1.BudgetService over the live allocators."""

    NAME = pb.DESCRIPTOR.services_by_name["BudgetService"].full_name

    def __init__(self, responder: Responder) -> None:
        self._responder = responder

    def handlers(self) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
        """The handler of each method, by its name."""
        return {"Allocate": grpc.unary_unary_rpc_method_handler(self._allocate)}

    def _allocate(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        request = parse_small(pb.AllocateRequest, message)
        policy = self._responder.resolve(request.policy, request.version)
        contract = policy.allocation
        if contract is None:
            expected = "one that allocates budgets, whose spec has an allocation block"
            raise InvalidRequest("policy", expected, f"{policy.name}; ask it by Act")
        day = _day(request)
        contract.check(day)
        explored = self._responder.wait(
            policy, contract.observe(day), context.is_active, with_values=False, epsilon=0.0
        )
        spends = allocate(contract.wishes(day, explored.answer.actions[0]), day.remaining_micros)
        return _response(policy.name, policy.version, day, spends).SerializeToString()


def _day(request: pb.AllocateRequest) -> Day:
    return Day(
        day=request.day,
        horizon_days=request.horizon_days,
        total_micros=request.total_micros,
        remaining_micros=request.remaining_micros,
        weekday=request.weekday,
        demand=request.demand if request.HasField("demand") else 1.0,
        channels=[
            ChannelDay(
                name=channel.name,
                spent_micros=tuple(channel.spent_micros),
                floor_micros=channel.floor_micros,
                cap_micros=channel.cap_micros if channel.HasField("cap_micros") else None,
            )
            for channel in request.channels
        ],
    )


def _response(policy: str, version: str, day: Day, spends: list[Spend]) -> pb.AllocateResponse:
    equal_micros = day.remaining_micros // (day.horizon_days - day.day) // len(spends)
    return pb.AllocateResponse(
        policy=policy,
        version=version,
        allocations=[
            pb.Allocation(
                name=channel.name,
                spend_micros=spend.micros,
                equal_split_micros=equal_micros,
                bound=_BOUNDS[spend.binding],
            )
            for channel, spend in zip(day.channels, spends, strict=True)
        ],
        unspent_micros=day.remaining_micros - sum(spend.micros for spend in spends),
    )
