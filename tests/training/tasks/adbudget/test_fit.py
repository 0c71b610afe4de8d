"""What can be learned of a history."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from polserve.training.tasks.adbudget.accounts import CHANNELS
from polserve.training.tasks.adbudget.contexts import WEEKDAY_DEMAND
from polserve.training.tasks.adbudget.curves.best import find_best
from polserve.training.tasks.adbudget.curves.curve import Curve
from polserve.training.tasks.adbudget.curves.fit import SAID_LEVEL, fit_response
from polserve.training.tasks.adbudget.curves.lift import LiftTest
from polserve.training.tasks.adbudget.curves.regression import SalesModel
from polserve.training.tasks.adbudget.curves.response import Channel, Response, geometric_adstock
from polserve.training.tasks.adbudget.curves.shapes import steep_channels
from polserve.training.tasks.adbudget.history.controls import Control
from polserve.training.tasks.adbudget.history.history import History, Truth, simulate_history

TRUTH = Truth(channels=(CHANNELS["facebook"], CHANNELS["search"]), base_sales=1500.0)


def history(days: int = 365, truth: Truth = TRUTH, seed: int = 0) -> History:
    return simulate_history(truth, days, np.random.default_rng(seed))


def truth_of(known: History, channels: tuple[Channel, ...], curve: Curve) -> float:
    """Sales a day that the truth has at the mean spend of a curve."""
    index = known.channels.index(curve.channel)
    return float(Response([channels[index]]).sales(np.array([[curve.mean_spend]]))[0, 0])


def test_the_fit_recovers_what_a_history_was_made_of() -> None:
    known = history(540)
    fit = fit_response(known, np.random.default_rng(1), members=20)
    assert fit.r_squared > 0.85
    assert fit.base_sales == pytest.approx(TRUTH.base_sales, rel=0.25)
    assert fit.weekday_demand == pytest.approx(WEEKDAY_DEMAND, abs=0.05)
    mean_spend = known.spends.mean(axis=0)
    truth, fitted = Response(TRUTH.channels), Response(fit.channels)
    assert fitted.sales(mean_spend) == pytest.approx(truth.sales(mean_spend), rel=0.15)
    assert fitted.retention == pytest.approx(truth.retention, abs=0.1)
    for curve in fit.curves:
        assert curve.verdict == "interval"
        low, _, high = curve.at_mean
        expected = truth_of(known, TRUTH.channels, curve)
        assert 0.7 * expected < low < high < 1.3 * expected


@pytest.mark.parametrize(
    ("shape", "is_steep"), [({}, False), ({"saturation": "logistic"}, True), ({"slope": 2.2}, True)]
)
def test_curves_of_any_shape_lie_in_the_intervals_and_steep_ones_are_named(
    shape: dict[str, Any], *, is_steep: bool
) -> None:
    truth = replace(TRUTH, channels=tuple(replace(channel, **shape) for channel in TRUTH.channels))
    fit = fit_response(history(540, truth), np.random.default_rng(1), members=40)
    missed_by: list[float] = []
    for index, curve in enumerate(fit.curves):
        spends = curve.mean_spend * np.array([[0.5], [1.0], [1.5]])
        sold = Response([truth.channels[index]]).sales(spends)[:, 0]
        low, high = (np.interp(spends[:, 0], curve.spends, edge) for edge in (curve.low, curve.high))
        missed_by += np.maximum(low / sold - 1, 1 - high / sold).tolist()
        seen = (curve.spends >= curve.observed[0]) & (curve.spends <= curve.observed[1])
        assert ((curve.sales >= curve.low) & (curve.sales <= curve.high))[seen].mean() > 0.9, "it is planned with"
        assert curve.is_steep == is_steep == ("S-shaped" in curve.statement())
        assert is_steep or all(member[index].is_concave for member in (fit.channels, *fit.ensemble))
    assert sum(part > 0 for part in missed_by) <= 1, "one of six, by 90 % intervals"
    assert max(missed_by) < 0.02


def test_steep_channels_that_move_alike_are_not_all_taken_for_concave() -> None:
    known = history(540, replace(TRUTH, sales_noise=0.0))
    steep = [replace(channel, slope=1.8) for channel in TRUTH.channels]
    alike = np.random.default_rng(0).lognormal(0, 0.02, 540)
    spends = np.column_stack([known.spends[:, 0], known.spends[:, 0] * steep[1].half_saturation * alike / 600])
    sold = Response(steep).sales(geometric_adstock(spends, Response(steep).retention)).sum(axis=1)
    noise = np.random.default_rng(1).lognormal(0, 0.08, 540)
    sales = np.array(WEEKDAY_DEMAND)[known.weekday] * (TRUTH.base_sales + sold) * noise
    model = SalesModel(replace(known, spends=spends, sales=sales))
    assert steep_channels(model, find_best(model, np.random.default_rng(1))).any()


def test_a_history_without_an_experiment_is_never_said_to_identify_a_curve() -> None:
    fit = fit_response(history(365), np.random.default_rng(1), members=4)
    assert not any(curve.is_identified for curve in fit.curves)
    assert "of sales a day at the mean spend of" in fit.statement()[0]
    assert ", given no confounding; observed from" in fit.statement()[0]


def test_the_derivatives_that_the_fit_uses_are_those_of_the_sales() -> None:
    idle_at_first = history(400)
    idle_at_first.spends[:5] = 0.0
    price = Control("price", "price", np.random.default_rng(0).uniform(1, 2, 400))
    tests = [LiftTest("search", 300.0, 100.0, 90.0, 9.0, days=14), LiftTest("facebook", 300.0, -300.0, -400.0, 50.0)]
    model = SalesModel(replace(idle_at_first, controls=(price,)), tests)
    for start in model.starts(model.prior, np.random.default_rng(0)):
        parameters = np.clip(start, model.prior.low + 1e-3, model.prior.high - 1e-3)
        exact = model.predict(parameters).derivatives
        for index, by_one in enumerate(exact.T):
            step = 1e-6 * np.eye(len(parameters))[index]
            estimate = (model.predict(parameters + step).values - model.predict(parameters - step).values) / 2e-6
            assert by_one == pytest.approx(estimate, rel=1e-3, abs=1e-5)


def test_a_channel_that_hardly_varies_is_said_not_to_be_identified() -> None:
    known = history(120, replace(TRUTH, sales_noise=0.15))
    flat = known.spends.copy()
    flat[:, 1] = 300.0
    fit = fit_response(replace(known, spends=flat), np.random.default_rng(0), members=8)
    assert fit.curves[1].verdict == "not identified"
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
    assert fit.account().channels == fit.channels_today


def test_the_currency_of_a_history_is_that_of_its_budgets() -> None:
    fit = fit_response(replace(history(90), currency="EUR"), np.random.default_rng(0), members=2)
    assert fit.account().currency == "EUR"
    assert replace(fit, history=history(90)).account().currency == "USD"


def growing(seed: int, *, moves_advertising: bool) -> History:
    """A history with season and growth, which spends follow; they may also move what advertising sells."""
    days = np.arange(730)
    demand = (1 + 0.15 * np.sin(2 * np.pi * days / 365.25)) * 1.4 ** (days / 365.25)
    demand /= demand.mean()
    known = history(730, seed=seed)
    spends = known.spends * demand[:, None] ** 2
    sold = Response(TRUTH.channels).sales(geometric_adstock(spends, Response(TRUTH.channels).retention)).sum(axis=1)
    level = demand * (TRUTH.base_sales + sold) if moves_advertising else demand * TRUTH.base_sales + sold
    noise = np.random.default_rng(seed + 3).lognormal(0, 0.05, 730)
    return replace(known, spends=spends, sales=np.array(WEEKDAY_DEMAND)[known.weekday] * level * noise)


@pytest.mark.parametrize(("kept", "moves_advertising", "truth"), [(1, True, 1.40), (-1, True, 0.71), (1, False, 1.0)])
def test_plans_are_made_for_the_level_of_today(*, kept: int, moves_advertising: bool, truth: float) -> None:
    known = growing(0, moves_advertising=moves_advertising)
    past = replace(known, spends=known.spends[::kept], sales=known.sales[::kept])  # backwards, an account that shrinks
    fit = fit_response(past, np.random.default_rng(0), members=4)
    assert fit.level == pytest.approx(truth, abs=0.15)
    today, average = fit.account().channels[0], fit.channels[0]
    assert today.sales_max == pytest.approx(fit.level * average.sales_max)
    assert [member[1].sales_max for member in fit.ensemble_today] == pytest.approx(
        [level * member[1].sales_max for level, member in zip(fit.ensemble_levels, fit.ensemble, strict=True)]
    )
    is_said = any(f"advertising sells {fit.level:.2f} times" in line for line in fit.statement())
    low, high = np.quantile([fit.level, *fit.ensemble_levels], (0.05, 0.95))
    assert is_said == (max(high - 1, 1 - low) >= SAID_LEVEL)
    assert is_said or truth == 1.0
    ordinary = replace(fit, level=1.0, ensemble_levels=(1 - 0.9 * SAID_LEVEL, 1 + 0.9 * SAID_LEVEL))
    assert not any("advertising sells" in line for line in ordinary.statement())


@pytest.mark.parametrize("moves_advertising", [False, True])
def test_spends_that_follow_season_and_growth_are_called_confounded(*, moves_advertising: bool) -> None:
    for curve in fit_response(growing(0, moves_advertising=moves_advertising), np.random.default_rng(0), 40).curves:
        assert curve.verdict == "confounded"
        assert f"{curve.channel}: CONFOUNDED: its spend moves with demand (correlation 0." in curve.statement()


@pytest.mark.parametrize("moves_advertising", [False, True])
def test_season_and_growth_that_spends_follow_do_not_mislead_the_intervals(*, moves_advertising: bool) -> None:
    held = []
    for seed in range(10):
        known = growing(seed, moves_advertising=moves_advertising)
        for curve in fit_response(known, np.random.default_rng(0)).curves:
            low, _, high = curve.at_mean
            held.append(low < truth_of(known, TRUTH.channels, curve) < high)
    assert sum(held) >= 17, f"{sum(held)} of 20, nominally 18"


def test_nothing_tells_a_dead_channel_from_none() -> None:
    dead = replace(TRUTH, channels=(TRUTH.channels[0], replace(TRUTH.channels[1], sales_max=1e-6)))
    fit = fit_response(history(400, dead), np.random.default_rng(0), members=20)
    assert fit.curves[1].at_mean[0] == 0.0
    assert "search: NOT identified by this history: nothing tells it from none" in fit.statement()[1]
    assert fit.curves[0].verdict == "interval"


def test_channels_that_move_alike_may_each_have_the_effect_of_the_other() -> None:
    known = history(400)
    alike = known.spends[:, 0] * np.random.default_rng(1).lognormal(0, 0.2, 400)
    channels = (replace(TRUTH.channels[0], retention=0.9), replace(TRUTH.channels[1], retention=0.3))
    spends = np.column_stack([known.spends[:, 0], alike])
    response = Response(channels)
    level = TRUTH.base_sales + response.sales(geometric_adstock(spends, response.retention)).sum(axis=1)
    noise = np.random.default_rng(2).lognormal(0, 0.05, 400)
    known = replace(known, spends=spends, sales=np.array(WEEKDAY_DEMAND)[known.weekday] * level * noise)
    best = find_best(SalesModel(known), np.random.default_rng(0))
    assert len(best.rivals) == 1
    for curve in fit_response(known, np.random.default_rng(0), members=40).curves:
        low, _, high = curve.at_mean
        assert low < truth_of(known, channels, curve) < high


def test_a_lift_test_identifies_what_a_history_does_not_tell() -> None:
    known = history(200)
    twins = replace(known, spends=np.column_stack([known.spends[:, 0], 0.5 * known.spends[:, 0]]))
    alone = fit_response(twins, np.random.default_rng(0), members=20).curves[1]
    curve = Response([TRUTH.channels[1]]).sales(np.array([[0.0], [300.0]]))[:, 0]
    test = LiftTest("search", spend=0.0, spend_change=300.0, sales_change=float(curve[1]), standard_error=20.0)
    told = fit_response(twins, np.random.default_rng(0), members=20, lift_tests=[test]).curves[1]
    assert (alone.verdict, told.verdict) == ("not identified", "identified")
    assert told.statement().startswith("search: identified by 1 lift test, 90 % interval ")
    low, high = (float(np.interp(300.0, told.spends, edge)) for edge in (told.low, told.high))
    assert low < curve[1] < high < low + 150


@pytest.mark.parametrize(
    ("part", "standard_error", "verdict", "said"),
    [
        (1.0, 1e4, "interval", "its lift tests do not tell the curve from none"),
        (0.2, 20.0, "not identified", "standard errors smaller than the curve's"),
        (4.0, 20.0, "not identified", "standard errors larger than the curve's"),
        (1.3, 4.0, "not identified", "standard errors larger than the history shows without it"),
    ],
)
def test_a_lift_test_that_shows_nothing_or_something_else_identifies_nothing(
    part: float, standard_error: float, verdict: str, said: str
) -> None:
    known = history(400)
    sold = float(Response([TRUTH.channels[0]]).sales(np.array([[300.0]]))[0, 0])
    test = LiftTest("facebook", 300.0, -300.0, -part * sold, standard_error)
    without = fit_response(known, np.random.default_rng(0), members=10).curves[0]
    told = fit_response(known, np.random.default_rng(0), members=10, lift_tests=[test]).curves[0]
    assert without.verdict == "interval"
    assert told.verdict == verdict
    assert told.statement().count(said) == 1


def test_small_sales_and_spends_are_said_with_three_digits() -> None:
    known = history(90)
    fit = fit_response(replace(known, spends=known.spends / 1e3, sales=known.sales / 1e5), np.random.default_rng(0), 4)
    spends = known.spends[:, 0][known.spends[:, 0] > 0] / 1e3
    assert f"at the mean spend of {spends.mean():.3g}" in fit.statement()[0]
    assert f"{fit.curves[0].at_mean[0]:.3g} to {fit.curves[0].at_mean[2]:.3g} of sales a day" in fit.statement()[0]


def test_sales_that_never_change_tell_nothing_of_any_channel() -> None:
    known = history(60)
    fit = fit_response(replace(known, sales=np.full(60, 1000.0)), np.random.default_rng(0), members=4)
    assert [curve.verdict for curve in fit.curves] == ["not identified"] * 2
    assert fit.r_squared == 0.0
    assert fit.account().channels == fit.channels_today


def test_a_history_of_sixty_days_says_what_it_cannot_tell() -> None:
    fit = fit_response(history(60, replace(TRUTH, sales_noise=0.2)), np.random.default_rng(0), members=20)
    assert all(curve.verdict == "not identified" for curve in fit.curves)
    assert "the history is shorter than a year: its season, if it has one, is fitted as a trend" in fit.statement()


def test_a_channel_of_the_last_days_only_does_not_end_the_fit() -> None:
    known = history(200)
    known.spends[:-10, 1] = 0.0
    fit = fit_response(known, np.random.default_rng(0), members=4)
    assert np.isfinite(fit.holdout.error)


def test_the_parts_of_sales_add_up_to_the_fit() -> None:
    fit = fit_response(history(400), np.random.default_rng(0), members=2)
    parts = fit.decomposition
    assert parts.names == ("base", "trend", "season", "events", "weekday", "facebook", "search")
    assert parts.sales.sum(axis=1) == pytest.approx(fit.expected)
    truth = Response(TRUTH.channels).sales(geometric_adstock(fit.history.spends, Response(TRUTH.channels).retention))
    assert [parts.daily["facebook"], parts.daily["search"]] == pytest.approx(truth.mean(axis=0), rel=0.15)


def test_days_that_were_held_out_are_foretold_better_than_naively() -> None:
    fit = fit_response(history(400), np.random.default_rng(0), members=2)
    assert fit.holdout.error < 0.08 < fit.holdout.naive_error
    assert (
        f"the last 56 days are foretold with an error of {fit.holdout.error:.1%}, less than the" in fit.statement()[2]
    )


def test_a_day_that_nothing_explains_is_named_until_an_event_explains_it() -> None:
    known = history(400)
    known.sales[[300, 301]] *= 2.5
    puzzled = fit_response(known, np.random.default_rng(0), members=2)
    assert {day.isoformat() for day, _ in puzzled.surprises} == {"2024-10-27", "2024-10-28"}
    assert "2024-10-27 (2." in puzzled.statement()[-1]
    event = Control("event: sale", "event", np.isin(np.arange(400), [300, 301]).astype(float))
    told = fit_response(replace(known, controls=(event,)), np.random.default_rng(0), members=2)
    assert told.surprises == ()
    assert told.decomposition.daily["events"] > 0


def test_the_simulator_is_a_pure_function_of_its_seed() -> None:
    assert np.array_equal(history(90).sales, history(90).sales)
    assert not np.array_equal(history(90).sales, history(90, seed=1).sales)
