"""A budget to be spent, with everything that its sales depend on; as an object, and as JSON."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polserve.training.errors import InvalidOption, require
from polserve.training.tasks.adbudget.curves.response import Channel, Floats, Response

DAYS_A_WEEK = 7
WEEKDAY_DEMAND = (0.95, 0.90, 0.95, 1.00, 1.10, 1.15, 0.95)
"""Demand by weekday, Monday first; 1 is an average day."""
HISTORY_DAYS = 28
"""Days of past spends that an allocator reads."""
MOST_MONEY = 1e12
"""What can still be counted in micros."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One budget over one horizon."""

    channels: tuple[Channel, ...]
    budget: float
    """Money for the whole horizon."""
    caps: tuple[float, ...]
    """Most money a day, per channel."""
    first_weekday: int
    """Weekday of day 0; 0 is Monday."""
    demand: tuple[float, ...]
    """Demand of each day of the horizon, to an ordinary day of its weekday."""
    past_spends: tuple[tuple[float, ...], ...]
    """Per channel, newest day first."""
    weekday_demand: tuple[float, ...] = WEEKDAY_DEMAND
    """Monday first; 1 is an average day."""
    drift: tuple[tuple[float, ...], ...] = ()
    """Per day, what each channel sells to what its curve says; () where they are as they were."""
    target_marginal: float = 0.0
    """Least return of a unit of money that is worth spending; 0 spends all of the budget."""

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
        is_drift = not self.drift or [len(day) for day in self.drift] == [n] * self.horizon_days
        require(is_drift, "drift", f"{n} numbers for each of {self.horizon_days} days", self.drift)
        for name in ("budget", "caps", "demand", "weekday_demand", "target_marginal"):
            value = getattr(self, name)
            _check_amounts(name, value if isinstance(value, tuple) else (value,))
        for name, spends in zip(self.names, self.past_spends, strict=True):
            _check_amounts(f"past_spends of {name}", spends)
        for day in self.drift:
            _check_amounts("drift", day)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the channels."""
        return tuple(channel.name for channel in self.channels)

    @property
    def horizon_days(self) -> int:
        """Days over which the budget is spent."""
        return len(self.demand)

    @property
    def response(self) -> Response:
        """How sales respond to spends on the channels."""
        return Response(self.channels)

    @property
    def day_demand(self) -> Floats:
        """What multiplies each day's sales (days,): weekday and event together."""
        days = self.first_weekday + np.arange(self.horizon_days)
        return np.asarray(np.array(self.weekday_demand)[days % DAYS_A_WEEK] * np.array(self.demand))

    @property
    def is_concave(self) -> bool:
        """Whether all curves are concave, so that the best plan is that of a convex program."""
        return all(channel.is_concave for channel in self.channels)

    @property
    def channel_demand(self) -> Floats:
        """What multiplies each day's sales of each channel (days, channels): demand and drift together."""
        factors = np.array(self.drift) if self.drift else np.ones((self.horizon_days, len(self.channels)))
        return np.asarray(self.day_demand[:, None] * factors)

    @property
    def spend_demand(self) -> Floats:
        """Demand on the first day that each day's spends act (days, channels); 0 beyond the horizon.

        With it, a channel with a lag sells as one without: its days are counted from the spends.
        """
        demand, days = self.channel_demand, np.arange(self.horizon_days)
        acting = days[:, None] + np.array([channel.lag_days for channel in self.channels])
        known = np.take_along_axis(demand, np.minimum(acting, self.horizon_days - 1), axis=0)
        return np.where(acting < self.horizon_days, known, 0.0)

    @property
    def is_earning(self) -> NDArray[np.bool_]:
        """Whether each day's spends (days, channels) act within the horizon: after a lag, those of its end do not."""
        return np.asarray(np.cumsum(self.spend_demand[::-1], axis=0)[::-1] > 0)

    @property
    def initial_adstock(self) -> Floats:
        """Adstock (channels,) of the past spends on the evening before day 0, whether or not they act by then."""
        return self._adstock_of([0] * len(self.channels))

    @property
    def acting_adstock(self) -> Floats:
        """Adstock (channels,) on the evening before day 0, of the past spends that act by then."""
        return self._adstock_of([channel.lag_days for channel in self.channels])

    def _adstock_of(self, lags: Sequence[int]) -> Floats:
        return np.array(
            [
                (1 - channel.retention) * sum(channel.retention**age * spend for age, spend in enumerate(spends[lag:]))
                for channel, spends, lag in zip(self.channels, self.past_spends, lags, strict=True)
            ]
        )


def _check_amounts(name: str, amounts: Sequence[float]) -> None:
    for amount in amounts:
        require(0 <= amount <= MOST_MONEY, name, f"numbers from 0 to {MOST_MONEY:g}", amount)


def alike(contexts: Sequence[Context]) -> list[list[int]]:
    """Group the indices of contexts by horizon and number of channels; each group is solved together."""
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, context in enumerate(contexts):
        groups[context.horizon_days, len(context.channels)].append(index)
    return list(groups.values())


def to_json(context: Context) -> str:
    """Context as one line of JSON, with every parameter of the response."""
    return json.dumps(asdict(context))


def from_json(line: str) -> Context:
    """Read the context in a line of JSON.

    Raises:
        InvalidOption: it is none; the error says what is wrong.
    """
    try:
        fields: Mapping[str, Any] = json.loads(line)
        channels = tuple(Channel(**channel) for channel in fields["channels"])
        tuples = {name: tuple(fields[name]) for name in ("caps", "demand", "weekday_demand") if name in fields}
        past_spends = tuple(tuple(float(spend) for spend in spends) for spends in fields["past_spends"])
        drift = tuple(tuple(float(factor) for factor in day) for day in fields.get("drift", ()))
        return Context(**{**fields, **tuples, "channels": channels, "past_spends": past_spends, "drift": drift})
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise InvalidOption(f"context: expected a JSON object as docs/adbudget.md describes it ({reason})") from error


def read_contexts(path: Path) -> list[Context]:
    """Read the contexts of a file, one JSON object a line.

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


def write_contexts(path: Path, contexts: Iterable[Context]) -> None:
    """Write the contexts to `path`, one a line."""
    path.write_text("".join(to_json(context) + "\n" for context in contexts))
