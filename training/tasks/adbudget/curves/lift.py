"""Lift tests: what an experiment found that a change of a channel's spend does to sales."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from polserve.training.errors import require
from polserve.training.tasks.adbudget.contexts import MOST_MONEY
from polserve.training.tasks.adbudget.curves.response import Floats
from polserve.training.tasks.adbudget.history.amounts import read_numbers
from polserve.training.tasks.adbudget.history.sheets import Cell, read_sheet

MOST_DAYS = 366
LEAST_ERROR = 1e-3
"""Least standard error, relative to the effect: one that claims to be surer would outweigh the history."""
LEAST_SIGNAL = 2.0
"""Standard errors of the tests, all together, within which an effect may well be none."""
MOST_DISAGREEMENT = 3.0
"""Standard errors of a test, beyond which it contradicts a curve."""


@dataclass(frozen=True, slots=True)
class LiftTest:
    """One experiment with one channel; money and sales are those of a day."""

    channel: str
    spend: float
    """Steady spend before."""
    spend_change: float
    """By how much the spend was raised; below 0 where it was lowered."""
    sales_change: float
    """By how much more, or less, was sold, on the mean of the test's days."""
    standard_error: float
    """Of `sales_change`."""
    days: int = 0
    """Days of the test; 0 for the change in the long run, with all that is carried over."""


@dataclass(frozen=True, slots=True)
class LiftEvidence:
    """What the lift tests of one channel say of its fitted curve."""

    tests: int = 0
    """Experiments that the curve was fitted to as well."""
    signal: float = 0.0
    """How well the tests tell the curve from none: what it foretells for all of them, in their standard errors."""
    shown: float = 0.0
    """The effect that they found, all together, likewise: as large as `signal` where they found what it foretells."""
    disagreement: float = 0.0
    """By how many standard errors the test furthest from the curve found a larger effect; below 0 for a smaller one."""
    surprise: float = 0.0
    """By how many standard errors, of test and history together, the test furthest from a fit to the history alone
    found a larger effect; below 0 for a smaller one."""
    beyond: int = 0
    """Tests of which all spends are above those of the history: they count for nothing in `signal` and `shown`."""

    @property
    def contradiction(self) -> str | None:
        """What the tests found where they, or the history, must be wrong; None where they agree."""
        for errors, other in ((self.disagreement, "the curve's"), (self.surprise, "the history shows without it")):
            if abs(errors) > MOST_DISAGREEMENT:
                larger = "larger" if errors > 0 else "smaller"
                return f"a lift test found an effect {abs(errors):.1f} standard errors {larger} than {other}"
        return None

    @property
    def backs(self) -> bool:
        """Whether the tests show an effect, and found what the curve foretells."""
        is_shown = min(self.signal, self.shown) >= LEAST_SIGNAL
        return self.tests > 0 and is_shown and not self.contradiction

    @property
    def doubt(self) -> str | None:
        """Why the tests do not back the curve; None where they do, and where there are none."""
        if self.backs or not self.tests:
            return None
        if self.beyond:
            return f"{self.beyond} of its lift tests ran above all spends of the history; give means a day, not totals"
        return self.contradiction or "its lift tests do not tell the curve from none"


REQUIRED = tuple(field.name for field in fields(LiftTest) if field.name != "days")
WANTED = f"a header with {', '.join(REQUIRED)}, each once, and days if the tests were short"


def read_lift_tests(path: Path, channels: Sequence[str]) -> list[LiftTest]:
    """Read a CSV file with a line for each lift test of one of `channels`.

    Raises:
        InvalidOption: the file has no such lines; the error names the line.
    """
    sheet = read_sheet(path, lambda cells: {"channel", "spend_change"} <= set(map(str.casefold, cells)), WANTED)
    header = [name.casefold() for name in sheet.header]
    is_complete = all(header.count(name) == 1 for name in REQUIRED) and header.count("days") <= 1
    require(is_complete, f"{path}, line {sheet.header_line}", WANTED, ", ".join(filter(None, sheet.header)))
    require(bool(sheet.rows), str(path), "at least one lift test", "a header alone")
    names = [*REQUIRED, *(["days"] if "days" in header else [])]
    columns = {name: sheet.column(header.index(name)) for name in names}
    numbers = {name: read_numbers(columns[name], MOST_DAYS if name == "days" else MOST_MONEY) for name in names[1:]}
    return [
        _lift_test(
            {name: cells[row] for name, cells in columns.items()},
            {name: column[row] for name, column in numbers.items()},
            channels,
        )
        for row in range(len(sheet.rows))
    ]


def _lift_test(cells: Mapping[str, Cell], numbers: Mapping[str, float], channels: Sequence[str]) -> LiftTest:
    """Lift test of one line; `cells` tell where its numbers stand."""
    where, channel = cells["channel"]
    known = {name.casefold(): name for name in channels}
    require(channel.casefold() in known, where, f"a channel of the history ({', '.join(channels)})", repr(channel))
    days = numbers.get("days", 0.0)
    others = {name: number for name, number in numbers.items() if name != "days"}
    test = LiftTest(known[channel.casefold()], **others, days=int(days))
    _check(cells["spend"][0], test.spend >= 0, "a spend of at least 0", test.spend)
    is_change = test.spend_change != 0 and test.spend + test.spend_change >= 0
    _check(cells["spend_change"][0], is_change, f"a change, to no less than 0 from {test.spend:g}", test.spend_change)
    least = LEAST_ERROR * abs(test.sales_change)
    _check(cells["standard_error"][0], test.standard_error > 0, "a positive number", test.standard_error)
    is_possible = test.standard_error >= least
    _check(
        cells["standard_error"][0], is_possible, f"at least a thousandth of the effect, {least:g}", test.standard_error
    )
    if "days" in cells:
        _check(cells["days"][0], days == int(days) and 0 <= days <= MOST_DAYS, f"0 to {MOST_DAYS} whole days", days)
    return test


def _check(where: str, is_right: object, expected: str, got: float) -> None:
    require(bool(is_right), where, expected, f"{got:g}")


class LiftRows:
    """What lift tests find, by the parameters of curves; spends are in mean spends, sales in mean sales."""

    def __init__(
        self, tests: Sequence[LiftTest], channels: Sequence[str], spends: Floats, mean_spend: Floats, mean_sales: float
    ) -> None:
        """Scale the tests of an account with the history `spends` (days, channels)."""
        self.index = np.array([channels.index(test.channel) for test in tests], int)
        scale = mean_spend[self.index]
        self._spend = np.array([test.spend for test in tests]) / scale
        self._change = np.array([test.spend_change for test in tests]) / scale
        self.sales_change = np.array([test.sales_change for test in tests]) / mean_sales
        self.weights = mean_sales / np.array([test.standard_error for test in tests])
        lowest = np.array([min(test.spend, test.spend + test.spend_change) for test in tests])
        self._is_beyond = lowest > spends.max(axis=0)[self.index]
        # NOTE: a day without a weight pads tests of fewer days than the longest; in the long run all is carried over.
        longest = max((test.days for test in tests), default=0) or 1
        self._day = np.arange(1, longest + 1)
        self._is_long = np.array([test.days == 0 for test in tests])
        days = np.array([test.days or 1 for test in tests])
        self._share = (self._day <= days[:, None]) / days[:, None] if len(tests) else np.zeros((0, 1))

    def predict(self, retention: Floats, log_half: Floats, slope: Floats, effect: Floats) -> Floats:
        """Change of sales (tests,) that each test finds on an ordinary day, by its channel's parameters (tests,)."""
        kept = np.where(self._is_long[:, None], 0.0, retention[:, None] ** self._day)
        after = self._spend[:, None] + self._change[:, None] * (1 - kept)
        most = effect * (1 + np.exp(slope * log_half))
        gained = _share(after, log_half[:, None], slope[:, None]) - _share(self._spend, log_half, slope)[:, None]
        return np.asarray(most * (gained * self._share).sum(axis=1))

    def evidence(self, index: int, foretold: Floats, alone: Floats) -> LiftEvidence:
        """Hold what the channel's tests found against what its curve foretells.

        Args:
            index: of the channel.
            foretold: effects (tests,) by the curve, which was fitted to history and tests.
            alone: effects (members, tests) by curves that were fitted to the history without the tests.
        """
        own = self.index == index
        if not own.any():
            return LiftEvidence()
        larger = ((self.sales_change - foretold) * np.sign(self._change) * self.weights)[own]
        within = own & ~self._is_beyond
        expected, found = (foretold * self.weights)[within], (self.sales_change * self.weights)[within]
        signal = float(np.linalg.norm(expected))
        shown = float(found @ expected) / signal if signal else 0.0
        error = np.hypot(1 / self.weights, alone.std(axis=0))
        surprise = ((self.sales_change - alone.mean(axis=0)) * np.sign(self._change) / error)[own]
        beyond = int((own & self._is_beyond).sum())
        return LiftEvidence(int(own.sum()), signal, shown, _furthest(larger), _furthest(surprise), beyond)

    def derivatives(self, retention: Floats, log_half: Floats, slope: Floats, effect: Floats) -> Floats:
        """Compute the derivatives (4, tests) of `predict` by its arguments, by central differences."""
        at, step = [retention, log_half, slope, effect], 1e-5
        rows = []
        for which in range(len(at)):
            more, less = (
                self.predict(*(each + sign * step * (k == which) for k, each in enumerate(at))) for sign in (1, -1)
            )
            rows.append((more - less) / (2 * step))
        return np.stack(rows)


def _furthest(values: Floats) -> float:
    """Value that is furthest from 0."""
    return float(values[np.abs(values).argmax()])


def _share(spend: Floats, log_half: Floats, slope: Floats) -> Floats:
    """Share of the most sales at an adstock, in mean spends."""
    power = np.exp(slope * (np.log(np.maximum(spend, 1e-12)) - log_half))
    return np.asarray(power / (1 + power))
