"""Budgets for both clients: a morning's question, and the split that answers it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from polserve.protos.polserve.v1 import budget_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetDay:
    """A budget on the morning of a day; money in micros, millionths of the currency's unit."""

    day: int
    """Of the horizon; 0 is the first."""
    horizon_days: int
    total_micros: int
    """The budget at the horizon's start."""
    remaining_micros: int
    """What is left of it."""
    weekday: int
    """0 is Monday."""
    spent_micros: Mapping[str, Sequence[int]]
    """Spends of each of the policy's channels, newest day first; days that are left out spent nothing."""
    demand: float | None = None
    """Expected today, to an ordinary day of this weekday; None for 1."""
    floor_micros: Mapping[str, int] = field(default_factory=dict)
    """Least to spend today, of some channels."""
    cap_micros: Mapping[str, int] = field(default_factory=dict)
    """Most to spend today, of some channels."""


@dataclass(frozen=True, slots=True)
class Split:
    """What to spend today; money in micros."""

    spend_micros: Mapping[str, int]
    """Per channel."""
    unspent_micros: int
    """Left for later days: with the spends it adds up to what remained."""
    equal_split_micros: int
    """What each channel would get of equal parts over days and channels."""
    bounds: Mapping[str, str]
    """Per channel, what kept the spend from being what the policy wanted: "floor", "cap", "budget" or "none"."""
    policy: str
    version: str
    """The version that answered."""


def allocate_request(policy: str, today: BudgetDay, version: str) -> pb.AllocateRequest:
    """The request for one day.

    Raises:
        ValueError: a floor or cap is of a channel that `spent_micros` does not have, or an amount is no int64.
    """
    if strangers := (today.floor_micros.keys() | today.cap_micros.keys()) - today.spent_micros.keys():
        raise ValueError(f"floor_micros, cap_micros: expected channels of spent_micros, got {sorted(strangers)}")
    return pb.AllocateRequest(
        policy=policy,
        version=version,
        day=today.day,
        horizon_days=today.horizon_days,
        total_micros=today.total_micros,
        remaining_micros=today.remaining_micros,
        demand=today.demand,
        weekday=today.weekday,
        channels=[
            pb.ChannelState(
                name=name,
                spent_micros=spent,
                floor_micros=today.floor_micros.get(name, 0),
                cap_micros=today.cap_micros.get(name),
            )
            for name, spent in today.spent_micros.items()
        ],
    )


def split_of(response: pb.AllocateResponse) -> Split:
    """What an Allocate answered."""
    return Split(
        spend_micros={item.name: item.spend_micros for item in response.allocations},
        unspent_micros=response.unspent_micros,
        equal_split_micros=response.allocations[0].equal_split_micros,
        bounds={item.name: pb.Bound.Name(item.bound).removeprefix("BOUND_").lower() for item in response.allocations},
        policy=response.policy,
        version=response.version,
    )
