"""Noise of daily sales that persists, and what it does to curves."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter

from polserve.training.tasks.adbudget.accounts import CHANNELS
from polserve.training.tasks.adbudget.curves.bands import bands
from polserve.training.tasks.adbudget.curves.best import find_best
from polserve.training.tasks.adbudget.curves.fit import fit_again
from polserve.training.tasks.adbudget.curves.persistence import Noise
from polserve.training.tasks.adbudget.curves.regression import SalesModel
from polserve.training.tasks.adbudget.curves.response import Floats, Response
from polserve.training.tasks.adbudget.history.history import History, Truth, simulate_history

TRUTH = Truth(channels=(CHANNELS["facebook"], CHANNELS["search"]), base_sales=1500.0, sales_noise=0.0)
DAYS = 365


def persisting(kept: float, deviation: float, rng: np.random.Generator, days: int = DAYS) -> Floats:
    """Noise (days,) of a deviation, that keeps a share of the day before's."""
    new = rng.normal(0, deviation, days)
    new[1:] *= np.sqrt(1 - kept**2)
    return np.asarray(lfilter([1.0], [1.0, -kept], new))


def history(kept: float, seed: int) -> History:
    """History whose noise is a tenth of its sales."""
    rng = np.random.default_rng(seed)
    known = simulate_history(TRUTH, DAYS, rng)
    return replace(known, sales=known.sales * np.exp(persisting(kept, 0.1, rng)))


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.9])
def test_what_noise_keeps_from_day_to_day_is_found_beside_a_flexible_fit(kept: float) -> None:
    models = [SalesModel(history(kept, seed)) for seed in range(4)]
    found = [find_best(model, np.random.default_rng(0)).persistence.mean for model in models]
    assert np.mean(found) == pytest.approx(kept, abs=0.06)


def test_intervals_hold_the_truth_where_noise_persists() -> None:
    held = []
    for seed in range(8):
        model, rng = SalesModel(history(0.9, seed)), np.random.default_rng(0)
        draws = fit_again(model, find_best(model, rng), 40, rng, lambda: None)
        for channel, band in zip(TRUTH.channels, bands(model, draws), strict=True):
            low, _, high = band.at_mean
            held.append(low < float(Response([channel]).sales(np.array([[band.mean_spend]]))[0, 0]) < high)
    assert sum(held) >= 14, f"{sum(held)} of 16, nominally 14.4; 12 where each day is fitted by itself"


def test_noise_that_is_drawn_persists_as_the_noise_that_was_seen() -> None:
    rng = np.random.default_rng(0)
    days = np.arange(3000)
    noise = Noise(np.full(len(days), 0.02), days > 0, kept=0.9)
    seen = persisting(0.9, 0.02 / np.sqrt(1 - 0.9**2), rng, len(days))
    drawn = noise.draw(seen, days >= 0, rng)
    assert noise.innovations(seen).std() == pytest.approx(1.0, rel=0.05)
    assert drawn.std() == pytest.approx(seen.std(), rel=0.15)
    assert np.corrcoef(drawn[1:], drawn[:-1])[0, 1] == pytest.approx(0.9, abs=0.03)


def test_a_day_that_nothing_explains_says_nothing_of_the_next_one() -> None:
    known = history(0.9, 0)
    sales = known.sales.copy()
    sales[200] *= 5
    model = SalesModel(replace(known, sales=sales))
    follows = find_best(model, np.random.default_rng(0)).noise.follows
    assert np.flatnonzero(~follows[15:]).tolist() == [185, 186]
