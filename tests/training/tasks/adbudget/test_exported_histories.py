"""What a fit makes of histories as accounts export them: in any unit, begun at any time, with Christmas in them."""

from dataclasses import replace

import numpy as np
import pytest

from polserve.training.tasks.adbudget.accounts import CHANNELS
from polserve.training.tasks.adbudget.curves.best import find_best
from polserve.training.tasks.adbudget.curves.fit import fit_response
from polserve.training.tasks.adbudget.curves.regression import SalesModel
from polserve.training.tasks.adbudget.curves.response import Response
from polserve.training.tasks.adbudget.history.history import History, Truth, simulate_history

TRUTH = Truth(channels=(CHANNELS["facebook"], CHANNELS["search"]), base_sales=1500.0)


def history(days: int = 365, truth: Truth = TRUTH, seed: int = 0) -> History:
    return simulate_history(truth, days, np.random.default_rng(seed))


def test_budgets_in_millions_are_those_of_the_same_money_in_units() -> None:
    known = history(120)
    in_millions = replace(known, spends=known.spends / 1e6, sales=known.sales / 1e6)
    low, high = fit_response(known, np.random.default_rng(0), members=2).account().daily_budget
    fit = fit_response(in_millions, np.random.default_rng(0), members=2)
    assert fit.account().daily_budget == pytest.approx((low / 1e6, high / 1e6), rel=0.01)


def test_a_history_that_begins_long_after_its_account_does_not_hide_what_is_carried_over() -> None:
    channels = tuple(replace(channel, retention=0.85) for channel in TRUTH.channels)
    parts = []
    for seed in range(3):
        whole = history(240, replace(TRUTH, channels=channels, sales_noise=0.02), seed)
        last = replace(whole, spends=whole.spends[140:], sales=whole.sales[140:])
        model = SalesModel(last)
        fitted = Response(model.channels(find_best(model, np.random.default_rng(0)).parameters))
        parts.append(fitted.sales(model.mean_spend) / Response(channels).sales(model.mean_spend))
    assert np.mean(parts) == pytest.approx(1, abs=0.2)


def test_first_days_that_are_not_fitted_are_not_said_to_need_an_event() -> None:
    known = history(300, replace(TRUTH, sales_noise=0.02))
    known.sales[:3] *= 1.6  # what was carried over from before
    assert fit_response(known, np.random.default_rng(0), members=2).surprises == ()


def test_weeks_before_christmas_of_two_years_are_a_season_and_no_effect_of_spends() -> None:
    known = history(2 * 365)
    demand = 1 + 0.8 * np.exp(-(((np.arange(2 * 365) % 365 - 345) / 14) ** 2) / 2)
    fit = fit_response(replace(known, sales=known.sales * demand), np.random.default_rng(0), members=2)
    assert fit.r_squared > 0.9
    assert fit.holdout.error < 0.07
    for curve in fit.curves:
        channel = known.channels.index(curve.channel)
        truth = Response([TRUTH.channels[channel]]).sales(np.array([[curve.mean_spend]]))[0, 0]
        sold = np.interp(curve.mean_spend, curve.spends, curve.sales)
        assert sold == pytest.approx(demand.mean() * truth, rel=0.2)
