"""BudgetService.Allocate: convert, ask, put into the ledger, convert back."""

import functools
from collections.abc import Sequence

from polserve.protos.polserve.v1 import budget_pb2 as pb
from polserve.serving.allocation import AllocationContract, ChannelDay, Day
from polserve.serving.catalog import Catalog
from polserve.serving.errors import InvalidRequest
from polserve.serving.handlers.base import Quiet, deadline_of, reject_unwanted
from polserve.serving.handlers.codec import parse_small
from polserve.serving.inference.inference import Inference
from polserve.serving.inference.waiting import Question, Result
from polserve.serving.ledger import Binding, Spend, allocate
from polserve.serving.methods import Call
from polserve.serving.policy import Policy

_BOUNDS = {
    Binding.NONE: pb.BOUND_NONE,
    Binding.FLOOR: pb.BOUND_FLOOR,
    Binding.CAP: pb.BOUND_CAP,
    Binding.BUDGET: pb.BOUND_BUDGET,
}


class AllocateHandler(Quiet):
    """Splits budgets with the live allocators."""

    def __init__(self, catalog: Catalog, inference: Inference) -> None:
        self._catalog = catalog
        self._inference = inference

    def handle(self, calls: Sequence[Call]) -> None:
        """Answer the calls; the model sees their days together."""
        questions = []
        for call in calls:
            if reject_unwanted(call):
                continue
            try:
                questions.append(self._question(call))
            except Exception as error:  # noqa: BLE001 - every error must become a status
                call.fail(error)
            else:
                call.wait()
        self._inference.ask(questions)

    def _question(self, call: Call) -> Question:
        request = parse_small(pb.AllocateRequest, call.message)
        policy = self._catalog.resolve(request.policy, request.version, call.caller.policies)
        contract = policy.allocation
        if contract is None:
            expected = "one that allocates budgets, whose spec has an allocation block"
            raise InvalidRequest("policy", expected, f"{policy.name}; ask it by Act")
        day = _day(request)
        contract.check(day)
        react = functools.partial(_reply, call, policy, contract, day)
        return Question(policy, contract.observe(day), False, 0.0, call.is_wanted, react, deadline=deadline_of(call))


def _reply(call: Call, policy: Policy, contract: AllocationContract, day: Day, result: Result) -> None:
    try:
        if isinstance(result, Exception):
            raise result  # noqa: TRY301 - one way for all that can go wrong here
        spends = allocate(contract.wishes(day, result.actions[0]), day.remaining_micros)
        response = _response(policy.name, policy.version, day, spends).SerializeToString()
    except Exception as error:  # noqa: BLE001 - every error must become a status
        call.fail(error)
    else:
        call.reply(response)


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
