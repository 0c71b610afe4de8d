"""A budget to be spent, with everything that its sales depend on; as an object, as JSON, and drawn at random."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polserve.training.errors import InvalidOption, require
from polserve.training.tasks.adbudget.currencies import CODES
from polserve.training.tasks.adbudget.response import Channel, Floats, Response

DAYS_A_WEEK = 7
WEEKDAY_DEMAND = (0.95, 0.90, 0.95, 1.00, 1.10, 1.15, 0.95)
"""Demand by weekday, Monday first; 1 is an average day."""
HISTORY_DAYS = 28
"""Days of past spends that an allocator reads."""
MOST_MONEY = 1e12
"""What can still be counted in micros."""
EVENT_PROBABILITY = 0.10
"""Of an event on a day."""
EVENT_DEMAND = (1.3, 2.5)
"""Least and greatest demand of an event's day, to that of an ordinary one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One budget over one horizon."""

    channels: tuple[Channel, ...]
    budget: float
    """Money for the whole horizon."""
    caps: tuple[float, ...]
    """Most money a day, per channel."""
    first_weekday: int
    """Of day 0; 0 is Monday."""
    demand: tuple[float, ...]
    """Of each day of the horizon, to an ordinary day of its weekday."""
    past_spends: tuple[tuple[float, ...], ...]
    """Per channel, newest day first."""
    weekday_demand: tuple[float, ...] = WEEKDAY_DEMAND
    """Monday first; 1 is an average day."""

    def __post_init__(self) -> None:
        """Check what the parts ask of each other; raises InvalidOption."""
        n = len(self.channels)
        require(n >= 1, "channels", "at least 1", n)
        require(len({channel.name for channel in self.channels}) == n, "channels", "names that differ", self.names)
        require(self.horizon_days >= 1, "demand", "one number per day of the horizon, at least 1", self.demand)
        require(len(self.caps) == n, "caps", f"one per channel, {n}", len(self.caps))
        require(len(self.past_spends) == n, "past_spends", f"one list per channel, {n}", len(self.past_spends))
        require(len(self.weekday_demand) == DAYS_A_WEEK, "weekday_demand", "7 numbers", self.weekday_demand)
        is_weekday = isinstance(self.first_weekday, int) and 0 <= self.first_weekday < DAYS_A_WEEK
        require(is_weekday, "first_weekday", "0 (Monday) to 6", self.first_weekday)
        for name in ("budget", "caps", "demand", "weekday_demand"):
            value = getattr(self, name)
            _check_amounts(name, value if isinstance(value, tuple) else (value,))
        for name, spends in zip(self.names, self.past_spends, strict=True):
            _check_amounts(f"past_spends of {name}", spends)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the channels."""
        return tuple(channel.name for channel in self.channels)

    @property
    def horizon_days(self) -> int:
        """Days over which the budget is spent."""
        return len(self.demand)

    @property
    def response(self) -> Response:
        """Of sales to the channels."""
        return Response(self.channels)

    @property
    def day_demand(self) -> Floats:
        """What multiplies each day's sales (days,): weekday and event together."""
        days = self.first_weekday + np.arange(self.horizon_days)
        return np.asarray(np.array(self.weekday_demand)[days % DAYS_A_WEEK] * np.array(self.demand))

    @property
    def initial_adstock(self) -> Floats:
        """Adstock (channels,) on the evening before day 0, of the past spends."""
        return np.array(
            [
                (1 - channel.retention) * sum(channel.retention**age * spend for age, spend in enumerate(spends))
                for channel, spends in zip(self.channels, self.past_spends, strict=True)
            ]
        )


def _check_amounts(name: str, amounts: Sequence[float]) -> None:
    for amount in amounts:
        require(0 <= amount <= MOST_MONEY, name, f"numbers from 0 to {MOST_MONEY:g}", amount)


def to_json(context: Context) -> str:
    """The context as one line of JSON, with every parameter of the response."""
    return json.dumps(asdict(context))


def from_json(line: str) -> Context:
    """The context in a line of JSON.

    Raises:
        InvalidOption: it is none; the error says what is wrong.
    """
    try:
        fields: Mapping[str, Any] = json.loads(line)
        channels = tuple(Channel(**channel) for channel in fields["channels"])
        tuples = {name: tuple(fields[name]) for name in ("caps", "demand", "weekday_demand") if name in fields}
        past_spends = tuple(tuple(float(spend) for spend in spends) for spends in fields["past_spends"])
        return Context(**{**fields, **tuples, "channels": channels, "past_spends": past_spends})
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise InvalidOption(f"context: expected a JSON object as docs/adbudget.md describes it ({reason})") from error


def read_contexts(path: Path) -> list[Context]:
    """The contexts of a file, one JSON object a line.

    Raises:
        InvalidOption: the file cannot be read, is empty, or a line holds no context.
    """
    try:
        lines = [(number, line) for number, line in enumerate(path.read_text().splitlines(), start=1) if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidOption(f"{path}: expected a file of contexts, one JSON object a line ({error})") from error
    require(bool(lines), str(path), "at least one context", "none")
    contexts = []
    for number, line in lines:
        try:
            contexts.append(from_json(line))
        except InvalidOption as error:
            raise InvalidOption(f"{path}, line {number}: {error}") from error
    return contexts


def mean_event(probability: float) -> float:
    """Expected demand of a day that is an event's with `probability`, to an ordinary day of its weekday."""
    return 1 + probability * (sum(EVENT_DEMAND) / 2 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What contexts are drawn from."""

    channels: tuple[Channel, ...]
    daily_budget: tuple[float, float]
    """Least and greatest budget, in money a day."""
    horizon_days: int = 30
    cap_factor: float = 2.0
    """A channel's cap, in budgets of an even day."""
    weekday_demand: tuple[float, ...] = WEEKDAY_DEMAND
    event_probability: float = EVENT_PROBABILITY
    currency: str = "USD"
    """ISO 4217."""
    sales_noise: float = 0.0
    """Standard deviation of the logarithm of a factor of mean 1 on each day's sales."""

    def __post_init__(self) -> None:
        """Check the ranges; raises InvalidOption."""
        names = [channel.name for channel in self.channels]
        require(len(set(names)) == len(names) >= 1, "channels", "at least one, with names that differ", names)
        require(self.currency in CODES, "currency", "an ISO 4217 code such as EUR", self.currency)
        low, high = self.daily_budget
        require(0 < low <= high < math.inf, "daily_budget", "two numbers, 0 < least <= greatest", self.daily_budget)
        require(
            isinstance(self.horizon_days, int) and self.horizon_days >= 1,
            "horizon_days",
            "at least 1",
            self.horizon_days,
        )
        require(self.cap_factor > 0, "cap_factor", "a positive number", self.cap_factor)
        week = self.weekday_demand
        is_week = len(week) == DAYS_A_WEEK and all(0 < day < math.inf for day in week)
        require(is_week, "weekday_demand", "7 positive numbers", week)
        require(0 <= self.event_probability <= 1, "event_probability", "a number from 0 to 1", self.event_probability)
        require(self.sales_noise >= 0, "sales_noise", "a number of at least 0", self.sales_noise)

    @property
    def mean_event(self) -> float:
        """Expected demand of a day to come, to an ordinary day of its weekday."""
        return mean_event(self.event_probability)

    def draw(self, rng: np.random.Generator) -> Context:
        """A context: budget, past spends, weekday and events at random."""
        n, days = len(self.channels), self.horizon_days
        daily = rng.uniform(*self.daily_budget)
        is_event = rng.random(days) < self.event_probability
        demand = np.where(is_event, rng.uniform(*EVENT_DEMAND, days), 1.0)
        half = np.array([channel.half_saturation for channel in self.channels])
        level = rng.uniform(0, 1, n) * half
        past = level[:, None] * rng.uniform(0.5, 1.5, (n, HISTORY_DAYS))
        return Context(
            channels=self.channels,
            budget=float(daily * days),
            caps=(float(self.cap_factor * daily),) * n,
            first_weekday=int(rng.integers(DAYS_A_WEEK)),
            demand=tuple(demand.tolist()),
            past_spends=tuple(tuple(spends) for spends in past.tolist()),
            weekday_demand=self.weekday_demand,
        )

    def draw_many(self, rng: np.random.Generator, n: int) -> list[Context]:
        """`n` contexts."""
        return [self.draw(rng) for _ in range(n)]


def scenario_from(value: "Scenario | Mapping[str, Any] | None", n_channels: int = 2) -> Scenario:
    """The scenario, also one given as what JSON has of it, or the default one of `n_channels`.

    Raises:
        InvalidOption: it is none.
    """
    if isinstance(value, Scenario):
        return value
    if value is None:
        return default_scenario(n_channels)
    try:
        channels = tuple(Channel(**channel) for channel in value["channels"])
        low, high = value["daily_budget"]
        rest = {name: item for name, item in value.items() if name not in {"channels", "daily_budget"}}
        if "weekday_demand" in rest:
            rest["weekday_demand"] = tuple(rest["weekday_demand"])
        return Scenario(channels=channels, daily_budget=(float(low), float(high)), **rest)
    except (ValueError, TypeError, KeyError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise InvalidOption(f"scenario: expected an object as docs/adbudget.md describes it ({reason})") from error


CHANNELS: Mapping[str, Channel] = {
    channel.name: channel
    for channel in (
        Channel(name="facebook", retention=0.55, half_saturation=600.0, sales_max=2400.0, slope=0.9),
        Channel(name="instagram", retention=0.75, half_saturation=350.0, sales_max=1300.0, slope=0.8),
        Channel(name="search", retention=0.40, half_saturation=500.0, sales_max=1600.0, slope=1.0),
        Channel(name="youtube", retention=0.80, half_saturation=800.0, sales_max=1900.0, slope=0.9),
        Channel(name="tiktok", retention=0.65, half_saturation=300.0, sales_max=900.0, slope=0.85),
        Channel(name="display", retention=0.30, half_saturation=250.0, sales_max=700.0, slope=1.0),
        Channel(name="email", retention=0.20, half_saturation=120.0, sales_max=420.0, slope=0.95),
        Channel(name="radio", retention=0.70, half_saturation=450.0, sales_max=800.0, slope=0.9),
    )
}
"""Plausible values within the ranges that open media-mix models use as priors; no advertiser's estimates."""
DAILY_BUDGET_RANGE = (0.35, 3.2)
"""Least and greatest budget a day, to the sum of the channels' half saturations."""


def default_scenario(n_channels: int = 2, horizon_days: int = 30) -> Scenario:
    """Budgets for the first channels of `CHANNELS`.

    Raises:
        InvalidOption: there are not as many.
    """
    require(1 <= n_channels <= len(CHANNELS), "n_channels", f"1 to {len(CHANNELS)}", n_channels)
    channels = tuple(CHANNELS.values())[:n_channels]
    return scenario_of(channels, horizon_days)


def scenario_of(channels: Sequence[Channel], horizon_days: int = 30) -> Scenario:
    """Budgets in proportion to what the channels can use."""
    scale = sum(channel.half_saturation for channel in channels)
    low, high = (round(scale * factor, 2) for factor in DAILY_BUDGET_RANGE)
    return Scenario(channels=tuple(channels), daily_budget=(low, high), horizon_days=horizon_days)


def write_contexts(path: Path, contexts: Iterable[Context]) -> None:
    """`path` holds the contexts, one a line."""
    path.write_text("".join(to_json(context) + "\n" for context in contexts))
