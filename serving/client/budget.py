"""Budgets for both clients: the question of a morning, and the split that answers it."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from polserve.protos.polserve.v1 import budget_pb2 as pb
from polserve.serving.client.arguments import Version, is_text, name_and_version, number_of, whole
from polserve.serving.client.errors import InvalidArgument, described
from polserve.serving.client.messages import ClientCall

INT32 = 2**31
INT64 = 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetDay:
    """A budget on the morning of a day; money in micros, millionths of the currency's unit."""

    day: int
    """Number of the day in the horizon; 0 is the first."""
    horizon_days: int
    """Length of the horizon."""
    total_micros: int
    """The budget at the horizon's start."""
    remaining_micros: int
    """What is left of the budget."""
    weekday: int
    """Day of the week; 0 is Monday."""
    spent_micros: Mapping[str, Sequence[int]]
    """Spends of each of the policy's channels, newest day first; days that are left out spent nothing."""
    demand: float | None = None
    """Demand expected today, relative to an ordinary day of this weekday; None for 1."""
    floor_micros: Mapping[str, int] = field(default_factory=dict)
    """Least to spend today, for some channels."""
    cap_micros: Mapping[str, int] = field(default_factory=dict)
    """Most to spend today, for some channels."""


@dataclass(frozen=True, slots=True)
class Split:
    """What to spend today; money in micros."""

    spend_micros: Mapping[str, int]
    """Spend of each channel."""
    unspent_micros: int
    """What is left for later days: with the spends it adds up to what remained."""
    equal_split_micros: int
    """What each channel would get of equal parts over days and channels."""
    bounds: Mapping[str, str]
    """For each channel what kept the spend from being what the policy wanted: "floor", "cap", "budget" or "none"."""
    policy: str
    """Name of the policy that answered."""
    version: str
    """The version that answered."""


def allocate_call(policy: str, today: BudgetDay, version: Version) -> ClientCall[Split]:
    """Return the call for one day.

    Raises:
        InvalidArgument: a field is not of its type, or beyond what the message holds; or a floor or cap is of a channel
            that `spent_micros` does not have.
    """
    return ClientCall("Allocate", _allocate_request(policy, today, version), _split_of)


def _allocate_request(policy: str, today: BudgetDay, version: Version) -> pb.AllocateRequest:
    name, number = name_and_version(policy, version)
    if not isinstance(today, BudgetDay):
        raise InvalidArgument("today", "a BudgetDay", described(today))
    spent = _by_channel("spent_micros", today.spent_micros)
    floors, caps = _by_channel("floor_micros", today.floor_micros), _by_channel("cap_micros", today.cap_micros)
    for argument, limits in (("floor_micros", floors), ("cap_micros", caps)):
        if strangers := sorted(limits.keys() - spent.keys()):
            raise InvalidArgument(argument, f"channels of spent_micros, {', '.join(spent) or 'none'}", str(strangers))
    return pb.AllocateRequest(
        policy=name,
        version=number,
        day=_int32("day", today.day),
        horizon_days=_int32("horizon_days", today.horizon_days),
        total_micros=_int64("total_micros", today.total_micros),
        remaining_micros=_int64("remaining_micros", today.remaining_micros),
        demand=_demand(today.demand),
        weekday=_int32("weekday", today.weekday),
        channels=[
            pb.ChannelState(
                name=channel,
                spent_micros=_amounts(channel, amounts),
                floor_micros=_limit("floor_micros", channel, floors),
                cap_micros=_limit("cap_micros", channel, caps),
            )
            for channel, amounts in spent.items()
        ],
    )


def _split_of(response: pb.AllocateResponse) -> Split:
    return Split(
        spend_micros={item.name: item.spend_micros for item in response.allocations},
        unspent_micros=response.unspent_micros,
        equal_split_micros=response.allocations[0].equal_split_micros,
        bounds={item.name: pb.Bound.Name(item.bound).removeprefix("BOUND_").lower() for item in response.allocations},
        policy=response.policy,
        version=response.version,
    )


def _int32(argument: str, value: int) -> int:
    return whole(argument, value, -INT32, INT32 - 1)


def _int64(argument: str, value: int) -> int:
    return whole(argument, value, -INT64, INT64 - 1)


def _demand(value: float | None) -> float | None:
    if value is None:
        return None
    number = number_of(value)
    if number is None:
        raise InvalidArgument("demand", "a number, or None for 1", described(value))
    return number


def _by_channel(argument: str, value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a mapping whose keys are names of channels; raises InvalidArgument."""
    if not isinstance(value, Mapping):
        raise InvalidArgument(argument, "a mapping by the channels' names", described(value))
    for name in value:
        if not is_text(name):
            raise InvalidArgument(argument, "a mapping by the channels' names", f"the name {described(name)}")
    return value


def _amounts(channel: str, value: object) -> list[int]:
    """Return the spends of a channel; raises InvalidArgument."""
    argument = f"spent_micros[{channel!r}]"
    expected = "whole numbers, newest day first"
    if isinstance(value, (str, bytes, Mapping, AbstractSet)) or not isinstance(value, Iterable):
        raise InvalidArgument(argument, expected, described(value))
    try:
        amounts = list(value)
    except TypeError as error:  # an array without axes
        raise InvalidArgument(argument, expected, described(value)) from error
    return [_int64(f"{argument}[{index}]", amount) for index, amount in enumerate(amounts)]


def _limit(argument: str, channel: str, limits: Mapping[str, Any]) -> int | None:
    value = limits.get(channel)
    return None if value is None else _int64(f"{argument}[{channel!r}]", value)
