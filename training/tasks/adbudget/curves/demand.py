"""What moves sales beside advertising, as columns of a design: trend, season, weekday, events, prices, promotions."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import null_space

from polserve.training.tasks.adbudget.contexts import DAYS_A_WEEK
from polserve.training.tasks.adbudget.curves.response import Floats
from polserve.training.tasks.adbudget.history.history import History

Part: TypeAlias = Literal["trend", "season", "weekday", "events"]
PARTS: tuple[Part, ...] = ("trend", "season", "events", "weekday")
"""In the order in which a decomposition takes them; prices and promotions count as events."""
DAYS_A_YEAR = 365.25
SEASON_LEAST_DAYS = 365
"""In a shorter history, a season looks like a trend."""
WAVES = 3
"""Yearly Fourier terms: the shortest wave takes four months. PyMC-Marketing's examples take 2."""
SHORT_WAVES, SHORT_WAVES_LEAST_DAYS = 8, 2 * 365
"""Yearly Fourier terms of two years and more, where waves are seen again: the shortest one takes six weeks, about as
long as what comes before Christmas. Prophet takes 10."""
KNOT_DAYS = 120
"""Days after which the trend may change its slope."""


@dataclass(frozen=True, slots=True)
class Design:
    """Columns whose weighted sum is the logarithm of demand, and how large their weights may well be."""

    columns: Floats  # (days, columns)
    parts: tuple[Part, ...]
    """The part of demand that each column belongs to."""
    deviation: Floats  # (columns,)
    """Prior standard deviation of each weight; their mean is 0."""

    def of(self, *parts: Part) -> NDArray[np.intp]:
        """Find the columns of some parts, by index."""
        return np.flatnonzero([part in parts for part in self.parts])

    @property
    def slow(self) -> NDArray[np.intp]:
        """Indices of the columns of trend and season, which may or may not move what advertising sells."""
        return self.of("trend", "season")


@dataclass(frozen=True, slots=True)
class _Block:
    part: Part
    columns: Floats
    deviation: Floats


def make_design(history: History) -> Design:
    """Make the columns of a history's demand."""
    days = np.arange(len(history.sales))
    blocks = [_trend(days), _weekday(history.weekday)]
    if len(days) >= SEASON_LEAST_DAYS:
        blocks.insert(1, _season(days))
    if history.controls:
        blocks.append(_controls(history))
    return Design(
        np.concatenate([block.columns for block in blocks], axis=1),
        tuple(block.part for block in blocks for _ in block.deviation),
        np.concatenate([block.deviation for block in blocks]),
    )


def _trend(days: NDArray[np.int64]) -> _Block:
    """Trend of a slope that changes at knots, per year: it may double or halve in a year."""
    knots = np.arange(KNOT_DAYS, len(days) - KNOT_DAYS / 2, KNOT_DAYS)
    bends = np.maximum(days[:, None] - knots, 0) / DAYS_A_YEAR
    columns = np.column_stack([days / DAYS_A_YEAR, bends])
    return _Block("trend", columns - columns.mean(axis=0), np.array([0.7, *np.full(len(knots), 0.4)]))


def _season(days: NDArray[np.int64]) -> _Block:
    """Season of yearly waves; short ones are smaller."""
    waves = SHORT_WAVES if len(days) >= SHORT_WAVES_LEAST_DAYS else WAVES
    wave = np.arange(1, waves + 1)
    angle = 2 * np.pi * np.outer(days, wave) / DAYS_A_YEAR
    columns = np.concatenate([np.sin(angle), np.cos(angle)], axis=1)
    return _Block("season", columns - columns.mean(axis=0), np.tile(0.3 / wave, 2))


def _weekday(weekday: NDArray[np.int64]) -> _Block:
    """Weekdays, as contrasts: a factor on all of them is no weekday's."""
    contrasts = null_space(np.ones((1, DAYS_A_WEEK)))
    return _Block("weekday", contrasts[weekday], np.full(DAYS_A_WEEK - 1, 0.7))


def _controls(history: History) -> _Block:
    """Events, prices and promotions."""
    columns = np.column_stack([control.column for control in history.controls])
    return _Block("events", columns, np.array([control.deviation for control in history.controls]))
