"""What can be learned of a history."""

from dataclasses import replace

import numpy as np
import pytest

from polserve.training.tasks.adbudget.accounts import CHANNELS
from polserve.training.tasks.adbudget.contexts import WEEKDAY_DEMAND
from polserve.training.tasks.adbudget.curves.fit import fit_response
from polserve.training.tasks.adbudget.curves.regression import SalesModel
from polserve.training.tasks.adbudget.curves.response import Response
from polserve.training.tasks.adbudget.history.history import History, Truth, simulate_history

TRUTH = Truth(channels=(CHANNELS["facebook"], CHANNELS["search"]), base_sales=1500.0)


def history(days: int = 365, truth: Truth = TRUTH, seed: int = 0) -> History:
    return simulate_history(truth, days, np.random.default_rng(seed))


def test_the_fit_recovers_what_a_history_was_made_of() -> None:
    known = history(540)
    fit = fit_response(known, np.random.default_rng(1), members=8)
    assert fit.r_squared > 0.85
    assert fit.base_sales == pytest.approx(TRUTH.base_sales, rel=0.25)
    assert fit.weekday_demand == pytest.approx(WEEKDAY_DEMAND, abs=0.05)
    mean_spend = known.spends.mean(axis=0)
    truth, fitted = Response(TRUTH.channels), Response(fit.channels)
    assert fitted.sales(mean_spend) == pytest.approx(truth.sales(mean_spend), rel=0.15)
    assert fitted.retention == pytest.approx(truth.retention, abs=0.1)
    for curve, at, expected in zip(fit.curves, mean_spend, truth.sales(mean_spend), strict=True):
        assert curve.is_identified
        low, high = (float(np.interp(at, curve.spends, edge)) for edge in (curve.low, curve.high))
        assert 0.7 * expected < low < high < 1.3 * expected


def test_the_derivatives_that_the_fit_uses_are_those_of_the_sales() -> None:
    idle_at_first = history(90)
    idle_at_first.spends[:5] = 0.0
    model = SalesModel(idle_at_first)
    for parameters in model.starts(np.random.default_rng(0)):
        exact = model.derivatives(parameters) * idle_at_first.sales.mean()
        for index, by_one in enumerate(exact.T):
            step = 1e-6 * np.eye(len(parameters))[index]
            estimate = (model.sales(parameters + step) - model.sales(parameters - step)) / 2e-6
            assert by_one == pytest.approx(estimate, rel=1e-4, abs=1e-3)


def test_a_channel_that_hardly_varies_is_said_not_to_be_identified() -> None:
    known = history(120, replace(TRUTH, sales_noise=0.15))
    flat = known.spends.copy()
    flat[:, 1] = 300.0
    fit = fit_response(replace(known, spends=flat), np.random.default_rng(0), members=8)
    assert not fit.curves[1].is_identified
    assert "search: NOT identified by this history" in fit.statement()[1]
    assert "its spend varies by 0% only" in fit.statement()[1]


def test_channels_that_move_together_are_said_not_to_be_told_apart() -> None:
    known = history(120)
    twins = known.spends.copy()
    twins[:, 1] = 0.5 * twins[:, 0]
    fit = fit_response(replace(known, spends=twins), np.random.default_rng(0), members=2)
    assert "facebook: NOT identified by this history: its spend moves as that of search does" in fit.statement()[0]


def test_budgets_of_an_account_that_hardly_spends_are_those_of_its_days_of_spending() -> None:
    known = history(120)
    rare = np.where(np.arange(120)[:, None] % 30 == 0, known.spends + 50, 0.0)
    low, high = fit_response(replace(known, spends=rare), np.random.default_rng(0), members=2).daily_spend
    assert 0 < low <= high


def test_budgets_to_learn_with_are_near_those_that_were_seen() -> None:
    known = history(120)
    fit = fit_response(known, np.random.default_rng(0), members=2)
    low, high = fit.account().daily_budget
    assert low < known.spends.sum(axis=1).mean() < high
    assert fit.account().channels == fit.channels


def test_the_currency_of_a_history_is_that_of_its_budgets() -> None:
    fit = fit_response(replace(history(90), currency="EUR"), np.random.default_rng(0), members=2)
    assert fit.account().currency == "EUR"
    assert replace(fit, history=history(90)).account().currency == "USD"


def test_the_simulator_is_a_pure_function_of_its_seed() -> None:
    assert np.array_equal(history(90).sales, history(90).sales)
    assert not np.array_equal(history(90).sales, history(90, seed=1).sales)
