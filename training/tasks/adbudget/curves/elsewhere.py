"""Response curves that another tool fitted (Meridian, PyMC-Marketing, Robyn), as rows of one documented form.

docs/adbudget.md has the form. Here rows become channels of this simulator: by day instead of by week, in money instead
of its thousands, with adstock whose weights add up to 1.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from polserve.training.errors import InvalidOption, require
from polserve.training.tasks.adbudget.accounts import Account, account_of
from polserve.training.tasks.adbudget.curves.response import MOST_LAG_DAYS, Channel
from polserve.training.tasks.adbudget.curves.rows import Row, read_rows
from polserve.training.tasks.adbudget.history.currencies import CODES, SIGNS, code_of

DAYS = {"day": 1, "week": 7}
"""Days of each period that curves are told in."""
SATURATIONS: Mapping[str, tuple[str, ...]] = {
    "hill": ("half_saturation", "slope"),
    "michaelis-menten": ("half_saturation",),
    "logistic": ("half_saturation",),
}
"""Families, with the parameters of each beside `sales_max`."""
MOST_DRAWS = 50
"""Draws that are learned over: more tell little more, and all are part of the policy version."""
ADSTOCKS = ("normalised", "plain")
"""Weights that add up to 1; or 1, retention, retention^2 ..."""
PLAUSIBLE_RETURN = (0.01, 1000.0)
"""What a spend at half saturation returns, to itself, at least and at most; beyond it a unit is likely wrong."""
LEAST_HALF_SATURATION = 1.0
"""Money a day: a channel that is half saturated by less was likely scaled."""


@dataclass(frozen=True, slots=True)
class FittedCurves:
    """Channels as another tool fitted them."""

    channels: tuple[Channel, ...]
    ensemble: tuple[tuple[Channel, ...], ...]
    """The channels in each draw; () where there are none."""
    currency: str
    return_unit: str
    """A currency, or what else is sold."""
    is_money: bool
    """Whether returns are money, so that a return on spend means something."""
    given: frozenset[str] = frozenset()
    """Names of the fields that the file has."""

    def account(self, horizon_days: int = 30) -> Account:
        """Budgets in proportion to what the channels can use."""
        account = account_of(self.channels, horizon_days)
        unit = "" if self.is_money else self.return_unit
        return replace(
            account, currency=self.currency, return_unit=unit, ensemble=self.learned, weekday_demand=(1.0,) * 7
        )

    @property
    def learned(self) -> tuple[tuple[Channel, ...], ...]:
        """The draws to learn over: all, or as many as are taken, at even distances."""
        count = min(len(self.ensemble), MOST_DRAWS)
        return tuple(self.ensemble[index * len(self.ensemble) // count] for index in range(count))

    def statement(self) -> list[str]:
        """Sentences on each channel."""
        return [_statement(channel, self.currency, self.return_unit) for channel in self.channels]

    def warnings(self) -> list[str]:
        """Sentences on curves whose unit is likely another than the file says."""
        doubts = {channel.name: self._doubt(channel) for channel in self.channels}
        return [f"{name}: {doubt}" for name, doubt in doubts.items() if doubt]

    def _doubt(self, channel: Channel) -> str:
        """Why the units of a curve are likely wrong, and what to give; "" where they are plausible."""
        half, returned = channel.half_saturation, channel.sales_max / 2
        least, most = PLAUSIBLE_RETURN
        spend = f"{half:,.2f} {self.currency} a day, which bring half of the most that the channel returns,"
        scaled = f"1 of the spend is likely not 1 {self.currency}, but what the tool scaled it by: give a spend_scale"
        if half < LEAST_HALF_SATURATION:
            return f"{spend} are implausibly little; {self._remedy(scaled, 'spend_scale')}"
        if not self.is_money or least * half <= returned <= most * half:
            return ""
        got = f"{spend} return {returned:,.2f}, which is implausibly"
        if returned > most * half:
            return f"{got} much; {self._remedy(scaled, 'spend_scale', 'return_scale', 'return_value')}"
        unit = "of the return_unit" if "return_value" in self.given else self.return_unit
        scaled = (
            f"1 of the return is likely not 1 {unit}, but what the tool scaled its target by, such as the greatest "
            "sales of a period: give a return_scale"
        )
        return f"{got} little; {self._remedy(scaled, 'return_scale', 'return_value', 'spend_scale')}"

    def _remedy(self, scaled: str, scale: str, *others: str) -> str:
        """Say what to do: check the fields that the file has; where it lacks the `scale`, perhaps give that."""
        given = [name for name in (scale, *others) if name in self.given]
        check = [f"check the {' and the '.join(given)}"] if given else []
        return "; or ".join([*check, *([] if scale in given else [scaled])])


def read_curves(path: Path) -> FittedCurves:
    """Read curves from a JSON or CSV file.

    Raises:
        InvalidOption: the file holds no such curves; the error names the row, the field, and what was expected.
    """
    rows = read_rows(path)
    currency = _same(rows, "spend_unit", code_of)
    unit = _same(rows, "return_unit", lambda text: _returned_currency(text, currency))
    require(currency in CODES, f"{path}: spend_unit", "a currency's ISO 4217 code, such as EUR", currency or "none")
    require(bool(unit), f"{path}: return_unit", f"what is returned, such as {currency} or orders", "none")
    valued = ["return_value" in row.fields for row in rows]
    is_valued = all(valued)
    require(is_valued or not any(valued), f"{path}: return_value", "one for every curve, or none", "one for some")
    if unit != currency and unit in CODES and not is_valued:
        raise InvalidOption(
            f"{path}: return_unit: expected {currency}, as the spends, or a return_value, the {currency} that one "
            f"{unit} is worth; got {unit}"
        )
    _check_names(rows)
    by_draw: dict[int, dict[str, Channel]] = {}
    for row in rows:
        draw, channel = _draw(row), _channel(row)
        drawn = by_draw.setdefault(draw, {})
        require(channel.name not in drawn, f"{row.where}: channel", "each channel once in each draw", channel.name)
        drawn[channel.name] = channel
    names = tuple(dict.fromkeys(name for drawn in by_draw.values() for name in drawn))
    _check_channels(path, by_draw, names, rows)
    draws = tuple(tuple(by_draw[draw][name] for name in names) for draw in sorted(by_draw) if draw)
    channels = tuple(by_draw[0][name] for name in names) if 0 in by_draw else _middle(draws)
    given = frozenset(name for row in rows for name in row.fields)
    is_money = is_valued or unit == currency
    return FittedCurves(channels, draws, currency, currency if is_valued else unit, is_money, given)


def _check_names(rows: Sequence[Row]) -> None:
    """Refuse names that are likely one channel's: they differ in case, spaces, hyphens or underscores alone."""
    first: dict[str, str] = {}
    for row in rows:
        name = row.text("channel")
        known = first.setdefault(re.sub(r"[\s_-]+", "", name).casefold(), name)
        expected = f"{known!r} as before, or a name that differs from it in more than case, spaces, - and _"
        require(name == known, f"{row.where}: channel", expected, repr(name))


def _check_channels(
    path: Path, by_draw: Mapping[int, Mapping[str, Channel]], names: Sequence[str], rows: Sequence[Row]
) -> None:
    for draw, drawn in by_draw.items():
        missing = [name for name in names if name not in drawn]
        where = f"{path}: draw {draw}" if draw else f"{path}"
        require(not missing, where, f"a curve for each of {', '.join(names)}", f"none for {', '.join(missing)}")
    for row in rows:
        wanted = row.fields.get("channels")
        if wanted is not None:
            is_list = isinstance(wanted, list) and all(isinstance(name, str) for name in wanted)
            require(is_list, f"{path}: channels", "a list of names", wanted)
            require(sorted(wanted) == sorted(names), f"{path}: channels", f"the curves' {', '.join(names)}", wanted)


def _channel(row: Row) -> Channel:
    """Channel of a row, in money and days."""
    saturation = row.text("saturation").lower().replace("_", "-")
    require(saturation in SATURATIONS, f"{row.where}: saturation", " or ".join(SATURATIONS), saturation or "none")
    parameters = SATURATIONS[saturation]
    if "slope" not in parameters and "slope" in row.fields:
        raise InvalidOption(f"{row.where}: slope: expected none for {saturation}, which has none; got one")
    adstock = row.text("adstock", "normalised").lower()
    require(adstock in ADSTOCKS, f"{row.where}: adstock", " or ".join(ADSTOCKS), adstock)
    period = row.text("period").lower()
    require(period in DAYS, f"{row.where}: period", " or ".join(DAYS), period or "none")
    days = DAYS[period]
    retention = row.number("retention")
    require(0 <= retention < 1, f"{row.where}: retention", f"from 0 to below 1, a {period}", retention)
    half = _half_saturation(row, saturation) * row.positive("spend_scale", 1.0)
    if adstock == "plain":  # a steady spend becomes 1 / (1 - retention) times as much
        half *= 1 - retention
    lag = row.number("lag", 0.0)
    most_lag = MOST_LAG_DAYS // days
    require(lag in range(most_lag + 1), f"{row.where}: lag", f"whole {period}s from 0 to {most_lag}", lag)
    sales = _sales_max(row) * row.positive("return_scale", 1.0) * row.positive("return_value", 1.0)
    name, slope = row.text("channel"), row.positive("slope") if "slope" in parameters else 1.0
    try:
        return Channel(
            name=name,
            retention=retention ** (1 / days),
            half_saturation=half / days,
            sales_max=sales / days,
            slope=slope,
            saturation="logistic" if saturation == "logistic" else "hill",
            lag_days=int(lag) * days,
        )
    except InvalidOption as error:
        raise InvalidOption(f"{row.where}: {error}") from error


def _sales_max(row: Row) -> float:
    """Most that the channel returns, in the row's own unit and period."""
    if row.number("sales_max") != 0:
        return row.positive("sales_max")
    remedy = "leave the channel out, so that it gets no money"
    if _draw(row):
        remedy += "; or, where other draws found one, write a thousandth of theirs"
    raise InvalidOption(f"{row.where}: sales_max: expected a number above 0, got 0, which is no effect; {remedy}")


def _half_saturation(row: Row, saturation: str) -> float:
    """Adstock, in the row's own unit and period, that brings half of `sales_max`."""
    if "rate" not in row.fields:
        return row.positive("half_saturation")
    if saturation != "logistic":
        raise InvalidOption(f"{row.where}: rate: expected none for {saturation}, which has a half_saturation; got one")
    if "half_saturation" in row.fields:
        raise InvalidOption(f"{row.where}: rate: expected it in place of half_saturation; got both")
    return math.log(3) / row.positive("rate")


def _draw(row: Row) -> int:
    draw = row.number("draw", 0.0)
    require(draw >= 0 and draw == int(draw), f"{row.where}: draw", "0 or none for the curve, 1, 2 ... for draws", draw)
    return int(draw)


def _middle(draws: Sequence[Sequence[Channel]]) -> tuple[Channel, ...]:
    """Channels whose parameters are the medians of the draws'."""
    middle = []
    for drawn in zip(*draws, strict=True):
        kinds = {(channel.saturation, channel.lag_days) for channel in drawn}
        require(len(kinds) == 1, f"{drawn[0].name}: draws", "of one family and one lag", kinds)
        names = ("retention", "half_saturation", "sales_max", "slope")
        medians = {name: float(np.median([getattr(channel, name) for channel in drawn])) for name in names}
        middle.append(replace(drawn[0], **medians))
    return tuple(middle)


def _same(rows: Sequence[Row], name: str, read_currency: Callable[[str], str]) -> str:
    """Read the unit that all rows have in common; a currency by its code, which `read_currency` finds, else ""."""
    found = {read_currency(text) or text for row in rows for text in [row.text(name, "")]}
    require(len(found) == 1, f"{rows[0].path}: {name}", "one for all curves", ", ".join(sorted(found)))
    return found.pop()


def _returned_currency(text: str, currency: str) -> str:
    """Code of what is returned: that of the spends in any case, another only in capitals; "top" is what is sold."""
    code = code_of(text)
    return code if code in {currency, text} or text.casefold() in SIGNS else ""


def _statement(channel: Channel, currency: str, unit: str) -> str:
    shape = "concave" if channel.is_concave else f"S-shaped, steepest at {channel.inflection:,.2f} {currency}"
    lag = f", from {channel.lag_days} days after the spend" if channel.lag_days else ""
    return (
        f"{channel.name}: {shape}; at most {channel.sales_max:,.2f} {unit} a day, half of it at a steady "
        f"{channel.half_saturation:,.2f} {currency} a day; {channel.retention:.0%} is kept from day to day{lag}"
    )
