"""Advertising accounts: their channels and the range of their budgets, from which contexts are drawn."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from polserve.training.errors import InvalidOption, require
from polserve.training.tasks.adbudget.contexts import DAYS_A_WEEK, HISTORY_DAYS, WEEKDAY_DEMAND, Context
from polserve.training.tasks.adbudget.curves.response import Channel
from polserve.training.tasks.adbudget.history.currencies import CODES

EVENT_PROBABILITY = 0.10
"""Probability of an event on a day."""
EVENT_DEMAND = (1.3, 2.5)
"""Least and greatest demand of an event's day, to that of an ordinary one."""


def mean_event(probability: float) -> float:
    """Compute the expected demand of a day that is an event's with `probability`, to an ordinary day of its weekday."""
    return 1 + probability * (sum(EVENT_DEMAND) / 2 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What contexts are drawn from: channels with their response curves, and a range of budgets."""

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
    return_unit: str = ""
    """What sales are counted in where they are no money, such as orders; "" where they are money of the currency."""
    sales_noise: float = 0.0
    """Standard deviation of the logarithm of a factor of mean 1 on each day's sales."""
    ensemble: tuple[tuple[Channel, ...], ...] = ()
    """Channels as they may be as well: each context has one of these; () where they are known to be `channels`."""
    drift: float = 0.0
    """Standard deviation of the logarithm by which each channel's sales to its curve change from day to day."""
    target_marginal: float = 0.0
    """Least return of a unit of money that is worth spending; 0 spends all of a budget."""

    def __post_init__(self) -> None:
        """Check the ranges; raises InvalidOption."""
        names = [channel.name for channel in self.channels]
        require(len(set(names)) == len(names) >= 1, "channels", "at least one, with names that differ", names)
        require(self.currency in CODES, "currency", "an ISO 4217 code such as EUR", self.currency)
        require(isinstance(self.return_unit, str), "return_unit", "text, such as orders", self.return_unit)
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
        for name in ("sales_noise", "drift", "target_marginal"):
            value = getattr(self, name)
            require(0 <= value < math.inf, name, "a number of at least 0", value)
        for member in self.ensemble:
            own = [channel.name for channel in member]
            require(own == names, "ensemble", f"the channels {', '.join(names)} in each member", own)

    @property
    def sales_unit(self) -> str:
        """What sales are counted in: the currency, or what is sold."""
        return self.return_unit or self.currency

    @property
    def mean_event(self) -> float:
        """Expected demand of a day to come, to an ordinary day of its weekday."""
        return mean_event(self.event_probability)

    @property
    def is_concave(self) -> bool:
        """Whether all curves are concave, so that best plans are solved for and need not be searched for."""
        return all(channel.is_concave for member in (self.channels, *self.ensemble) for channel in member)

    @property
    def compared_by(self) -> str:
        """What plans are compared by, in words."""
        return "sales less the target's return" if self.target_marginal else "sales"

    def draw(self, rng: np.random.Generator) -> Context:
        """Draw a context: budget, past spends, weekday and events at random."""
        n, days = len(self.channels), self.horizon_days
        daily = rng.uniform(*self.daily_budget)
        is_event = rng.random(days) < self.event_probability
        demand = np.where(is_event, rng.uniform(*EVENT_DEMAND, days), 1.0)
        half = np.array([channel.half_saturation for channel in self.channels])
        level = rng.uniform(0, 1, n) * half
        past = level[:, None] * rng.uniform(0.5, 1.5, (n, HISTORY_DAYS))
        channels = self.ensemble[rng.integers(len(self.ensemble))] if self.ensemble else self.channels
        return Context(
            channels=channels,
            budget=float(daily * days),
            caps=(float(self.cap_factor * daily),) * n,
            first_weekday=int(rng.integers(DAYS_A_WEEK)),
            demand=tuple(demand.tolist()),
            past_spends=tuple(tuple(spends) for spends in past.tolist()),
            weekday_demand=self.weekday_demand,
            drift=self._draw_drift(rng),
            target_marginal=self.target_marginal,
        )

    def _draw_drift(self, rng: np.random.Generator) -> tuple[tuple[float, ...], ...]:
        """Draw a random walk of each channel's response, from 1 on the eve of the first day."""
        if not self.drift:
            return ()
        steps = rng.normal(0, self.drift, (self.horizon_days, len(self.channels)))
        return tuple(tuple(day) for day in np.exp(np.clip(np.cumsum(steps, axis=0), -3, 3)).tolist())

    def draw_many(self, rng: np.random.Generator, n: int) -> list[Context]:
        """Draw `n` contexts."""
        return [self.draw(rng) for _ in range(n)]


def account_from(value: "Account | Mapping[str, Any] | None", n_channels: int = 2) -> Account:
    """Account, also one given as what JSON has of it, or the default one of `n_channels`.

    Raises:
        InvalidOption: it is none.
    """
    if isinstance(value, Account):
        return value
    if value is None:
        return default_account(n_channels)
    try:
        channels = tuple(Channel(**channel) for channel in value["channels"])
        daily_budget = _two_numbers("daily_budget", value["daily_budget"])
        rest = {name: item for name, item in value.items() if name not in {"channels", "daily_budget"}}
        rest["ensemble"] = tuple(
            tuple(Channel(**channel) for channel in member) for member in value.get("ensemble", ())
        )
        if "weekday_demand" in rest:
            rest["weekday_demand"] = tuple(rest["weekday_demand"])
        return Account(channels=channels, daily_budget=daily_budget, **rest)
    except (ValueError, TypeError, KeyError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise InvalidOption(f"account: expected an object as docs/adbudget.md describes it ({reason})") from error


def kwargs_of(account: Account) -> dict[str, Any]:
    """Account as what JSON has of it: what `account_from` takes.

    NOTE: runs are resumed and versions compared by this text. It lacks a `return_unit` of "", as it did before
    accounts had one, so that it stays the same for the same account.
    """
    kwargs = asdict(account)
    if not account.return_unit:
        del kwargs["return_unit"]
    return kwargs


def _two_numbers(name: str, value: object) -> tuple[float, float]:
    """Least and greatest of a range; raises InvalidOption."""
    if isinstance(value, (list, tuple)) and [isinstance(end, (int, float)) for end in value] == [True, True]:
        return float(value[0]), float(value[1])
    raise InvalidOption(f"{name}: expected two numbers, the least and the greatest, such as [500, 2000], got {value}")


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


def default_account(n_channels: int = 2, horizon_days: int = 30) -> Account:
    """Budgets for the first channels of `CHANNELS`.

    Raises:
        InvalidOption: there are not as many.
    """
    require(1 <= n_channels <= len(CHANNELS), "n_channels", f"1 to {len(CHANNELS)}", n_channels)
    channels = tuple(CHANNELS.values())[:n_channels]
    return account_of(channels, horizon_days)


def account_of(channels: Sequence[Channel], horizon_days: int = 30) -> Account:
    """Budgets in proportion to what the channels can use."""
    scale = sum(channel.half_saturation for channel in channels)
    low, high = (rounded(scale * factor) for factor in DAILY_BUDGET_RANGE)
    return Account(channels=tuple(channels), daily_budget=(low, high), horizon_days=horizon_days)


def rounded(money: float) -> float:
    """Round money to hundredths; below 1 to three digits, since amounts may be in thousands or millions."""
    return round(money, 2) if money >= 1 else float(f"{money:.3g}")
