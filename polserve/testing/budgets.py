"""Allocations that a function answers: what the service's ledger would make of its spends."""

from collections.abc import Callable, Mapping
from typing import Any

import grpc

from polserve.protos.polserve.v1 import budget_pb2 as pb
from polserve.protos.shared.calls import MOST_MICROS
from polserve.serving.client import BudgetDay, ClientError, InvalidArgument
from polserve.serving.client.arguments import whole
from polserve.serving.client.errors import described
from polserve.serving.ledger import Wish, allocate


def answer_allocate(request: pb.AllocateRequest, function: Callable[[Any], Any], version: str) -> pb.AllocateResponse:
    """Answer an Allocate by a function, within floors, caps and what is left of the budget.

    Raises:
        ClientError: the question is one that the service refuses.
        InvalidArgument: the function answered no spends.
    """
    if not request.channels or not 0 <= request.day < request.horizon_days:
        message = "expected channels, and a day within horizon_days"
        raise ClientError(grpc.StatusCode.INVALID_ARGUMENT, message)
    names = [channel.name for channel in request.channels]
    wanted = _spends(function(_day_of(request)), names)
    wishes = [
        Wish(
            wanted[channel.name],
            channel.floor_micros,
            channel.cap_micros if channel.HasField("cap_micros") else max(channel.floor_micros, wanted[channel.name]),
        )
        for channel in request.channels
    ]
    try:
        spends = allocate(wishes, request.remaining_micros)
    except ValueError as error:
        raise ClientError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from error
    equal_micros = request.remaining_micros // (request.horizon_days - request.day) // len(names)
    return pb.AllocateResponse(
        policy=request.policy,
        version=version,
        allocations=[
            pb.Allocation(
                name=name,
                spend_micros=spend.micros,
                equal_split_micros=equal_micros,
                bound=f"BOUND_{spend.binding.name}",
            )
            for name, spend in zip(names, spends, strict=True)
        ],
        unspent_micros=request.remaining_micros - sum(spend.micros for spend in spends),
    )


def _spends(answered: object, names: list[str]) -> Mapping[str, int]:
    """Return the spends that a function answered; raises InvalidArgument."""
    expected = f"spends in micros of {', '.join(names)} from the function"
    if not isinstance(answered, Mapping) or set(answered) != set(names):
        raise InvalidArgument("policies", expected, described(answered))
    return {name: whole(f"policies: spend of {name}", answered[name], 0, MOST_MICROS) for name in names}


def _day_of(request: pb.AllocateRequest) -> BudgetDay:
    """Return the question of a request, as the client was asked it."""
    return BudgetDay(
        day=request.day,
        horizon_days=request.horizon_days,
        total_micros=request.total_micros,
        remaining_micros=request.remaining_micros,
        weekday=request.weekday,
        demand=request.demand if request.HasField("demand") else None,
        spent_micros={channel.name: list(channel.spent_micros) for channel in request.channels},
        floor_micros={channel.name: channel.floor_micros for channel in request.channels if channel.floor_micros},
        cap_micros={channel.name: channel.cap_micros for channel in request.channels if channel.HasField("cap_micros")},
    )
