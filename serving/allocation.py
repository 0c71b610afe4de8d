"""Allocators: what the spec of one promises, and a day's question put into the observation that its graph takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.names import BUDGET_COMPONENTS, MICROS, spent_component
from polserve.serving.errors import InvalidRequest, RolloutRefused
from polserve.serving.ledger import Wish

LAST_WEEKDAY = 6
LARGEST_DEMAND = 1000.0
"""Largest demand relative to an ordinary day; more is taken for a mistake."""


@dataclass(frozen=True, slots=True)
class ChannelDay:
    """A channel on the morning of a day, in micros."""

    name: str
    spent_micros: Sequence[int] = ()
    """Spend of each past day, the newest first."""
    floor_micros: int = 0
    cap_micros: int | None = None


@dataclass(frozen=True, slots=True)
class Day:
    """A budget on the morning of a day, in micros."""

    day: int
    horizon_days: int
    total_micros: int
    remaining_micros: int
    weekday: int
    demand: float
    channels: Sequence[ChannelDay] = field(default_factory=tuple)


class AllocationContract:
    """What an allocator takes and gives, compiled from its spec."""

    def __init__(self, spec: pb.PolicySpec) -> None:
        """Compile.

        Raises:
            RolloutRefused: the allocation block does not fit the observation and the action.
        """
        block = spec.allocation
        self.channels = tuple(block.channels)
        self.history_days = block.history_days
        self.max_horizon_days = block.max_horizon_days
        self._components = tuple(block.components)
        spents = {spent_component(name, ago) for name in self.channels for ago in range(1, self.history_days + 1)}
        unknown = [name for name in self._components if name not in spents and name not in BUDGET_COMPONENTS]
        n_actions = len(spec.action.continuous.low)
        if (
            unknown
            or not self.channels
            or len(set(self.channels)) != len(self.channels)
            or n_actions != len(self.channels)
        ):
            raise RolloutRefused(
                "allocation: expected channels with names of their own, one action each, and the components "
                f"{', '.join((*BUDGET_COMPONENTS, spent_component('<channel>', 1)))} and so on; got {n_actions} "
                f"actions for {list(self.channels)}, unknown {unknown}"
            )
        if list(spec.observation.shape) != [len(self._components)] or spec.observation.dtype != pb.FLOAT32:
            raise RolloutRefused(
                f"allocation: expected an observation float32 [{len(self._components)}], one number per component, got "
                f"{pb.DataType.Name(spec.observation.dtype)} {list(spec.observation.shape)}"
            )

    def check(self, day: Day) -> None:
        """Return if the question can be answered.

        Raises:
            InvalidRequest: it cannot.
        """
        longest = self.max_horizon_days
        _require(
            1 <= day.horizon_days <= longest, "horizon_days", f"1 to {longest}, the policy's longest", day.horizon_days
        )
        _require(0 <= day.day < day.horizon_days, "day", f"0 to {day.horizon_days - 1}", day.day)
        _require(day.total_micros >= 0, "total_micros", "at least 0", day.total_micros)
        within = f"0 to total_micros, {day.total_micros}"
        _require(0 <= day.remaining_micros <= day.total_micros, "remaining_micros", within, day.remaining_micros)
        _require(
            0 <= day.demand <= LARGEST_DEMAND,
            "demand",
            f"a number from 0 to {LARGEST_DEMAND:g}",
            day.demand,
        )
        _require(0 <= day.weekday <= LAST_WEEKDAY, "weekday", "0 (Monday) to 6", day.weekday)
        names = [channel.name for channel in day.channels]
        expected = f"each of {', '.join(self.channels)} once"
        _require(sorted(names) == sorted(self.channels), "channels", expected, ", ".join(names) or "none")
        for index, channel in enumerate(day.channels):
            self._check_channel(f"channels[{index}] ({channel.name})", channel)
        floors = sum(channel.floor_micros for channel in day.channels)
        what = f"floors of at most remaining_micros, {day.remaining_micros}, together"
        stated = ", ".join(f"{channel.name} {channel.floor_micros}" for channel in day.channels)
        _require(floors <= day.remaining_micros, "channels.floor_micros", what, f"{floors} ({stated})")

    def observe(self, day: Day) -> NDArray[np.float32]:
        """Return the observation (1, components) of a day that was checked; money in units of the currency."""
        values: dict[str, float] = {
            "day": day.day,
            "horizon_days": day.horizon_days,
            "total": day.total_micros / MICROS,
            "remaining": day.remaining_micros / MICROS,
            "demand": day.demand,
            "weekday": day.weekday,
        }
        for channel in day.channels:
            for ago, micros in enumerate(channel.spent_micros, start=1):
                values[spent_component(channel.name, ago)] = micros / MICROS
        return np.array([[values.get(name, 0.0) for name in self._components]], np.float32)

    def wishes(self, day: Day, spends: NDArray[np.float32]) -> list[Wish]:
        """Return what the graph wants (channels,) in micros, in the order of the day's channels, within their limits.

        Raises:
            ArithmeticError: a spend is not finite, which no policy that was verified may answer.
        """
        if not np.isfinite(spends).all():
            raise ArithmeticError(f"the policy's spends are not finite: {spends.tolist()}")
        wanted: Mapping[str, float] = dict(zip(self.channels, spends.tolist(), strict=True))
        return [_wish(channel, max(0, int(wanted[channel.name] * MICROS))) for channel in day.channels]

    def _check_channel(self, where: str, channel: ChannelDay) -> None:
        spent = channel.spent_micros
        _require(
            len(spent) <= self.history_days, f"{where}.spent_micros", f"at most {self.history_days} days", len(spent)
        )
        _require(min(spent, default=0) >= 0, f"{where}.spent_micros", "amounts of at least 0", list(spent))
        _require(channel.floor_micros >= 0, f"{where}.floor_micros", "at least 0", channel.floor_micros)
        if channel.cap_micros is not None:
            expected = f"at least the floor, {channel.floor_micros}"
            _require(channel.cap_micros >= channel.floor_micros, f"{where}.cap_micros", expected, channel.cap_micros)


def _wish(channel: ChannelDay, wanted_micros: int) -> Wish:
    """Where there is no cap, only the budget can hold back what is wanted."""
    cap = max(channel.floor_micros, wanted_micros) if channel.cap_micros is None else channel.cap_micros
    return Wish(wanted_micros, channel.floor_micros, cap)


def _require(condition: bool, field_name: str, expected: str, got: object) -> None:  # noqa: FBT001 - an assertion
    if not condition:
        raise InvalidRequest(field_name, expected, str(got))
