"""What `polserve allocate` asks of its options, told by their names and in the money that people type.

The service checks the same of any client, by the fields of the message and in micros.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import typer

from polserve.protos.shared.names import MICROS

if TYPE_CHECKING:
    from polserve.serving.client.live import Allocator

WEEKDAYS = 7


@dataclass(frozen=True, slots=True)
class BudgetOptions:
    """Options of one call, as they were given; money in micros."""

    left: int
    total: int | None
    day: int
    horizon: int | None
    weekday: int | None
    demand: float
    past: Mapping[str, Sequence[int]]
    floors: Mapping[str, int]
    caps: Mapping[str, int]

    def check(self) -> None:
        """Refuse what no policy can answer; raises BadParameter."""
        from polserve.serving.allocation import LARGEST_DEMAND

        left, total = self.left, self.total
        if total is not None:
            _require(left <= total, "--remaining", f"at most --total, {money(total)}", money(left))
        together = sum(self.floors.values())
        listed = ", ".join(f"{name} {money(floor)}" for name, floor in self.floors.items())
        _require(
            together <= left,
            "--floor",
            f"at most --remaining, {money(left)}, together",
            f"{money(together)} ({listed})",
        )
        for name, cap in self.caps.items():
            floor = self.floors.get(name, 0)
            _require(cap >= floor, f"--cap {name}", f"at least its --floor, {money(floor)}", money(cap))
        _require(self.horizon is None or self.horizon >= 1, "--horizon", "at least 1 day", self.horizon)
        _require(self.day >= 0, "--day", "0, for the first day, or more", self.day)
        if self.horizon is not None:
            _require(self.day < self.horizon, "--day", f"less than --horizon, {self.horizon}", self.day)
        is_weekday = self.weekday is None or 0 <= self.weekday < WEEKDAYS
        _require(is_weekday, "--weekday", "0 (Monday) to 6", self.weekday)
        _require(0 <= self.demand <= LARGEST_DEMAND, "--demand", f"a number from 0 to {LARGEST_DEMAND:g}", self.demand)

    def check_for(self, allocator: "Allocator") -> None:
        """Refuse what this policy cannot answer; raises BadParameter."""
        longest, known = allocator.max_horizon_days, allocator.channels
        is_within = self.horizon is None or self.horizon <= longest
        _require(is_within, "--horizon", f"1 to {longest}, the policy's longest", self.horizon)
        is_within = self.horizon is not None or self.day < longest
        _require(is_within, "--day", f"0 to {longest - 1}, within the policy's longest horizon", self.day)
        for option, by_channel in (("--spent", self.past), ("--floor", self.floors), ("--cap", self.caps)):
            unknown = [name for name in by_channel if name not in known]
            _require(not unknown, option, f"the policy's channels, {', '.join(known)}", ", ".join(unknown))
        for name, spends in self.past.items():
            days = allocator.history_days
            _require(len(spends) <= days, f"--spent {name}", f"at most {days} days, newest first", len(spends))


def money(micros: int) -> str:
    """Write an amount in units of the currency, exactly."""
    return f"{Decimal(micros) / MICROS:f}"


def _require(condition: bool, option: str, expected: str, got: object) -> None:  # noqa: FBT001 - an assertion
    if not condition:
        raise typer.BadParameter(f"{option}: expected {expected}, got {got}")
