"""The best plans of S-shaped curves, and of lags: against trying all plans of a grid, and against the environment."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from polserve.training.tasks.adbudget.accounts import CHANNELS, Account, account_of
from polserve.training.tasks.adbudget.campaigns import Campaigns
from polserve.training.tasks.adbudget.contexts import Context
from polserve.training.tasks.adbudget.curves.response import Response
from polserve.training.tasks.adbudget.plans.ascent import Slopes, climb
from polserve.training.tasks.adbudget.plans.global_search import search
from polserve.training.tasks.adbudget.plans.marginal import MarginalRule
from polserve.training.tasks.adbudget.plans.optimum import Problem, solve, solve_all
from polserve.training.tasks.adbudget.plans.pricing import Pricing
from polserve.training.tasks.adbudget.plans.rules import Resolve, even, play_rule, regret


def bent(slope: float = 2.5, lag_days: int = 0, retention: float | None = None) -> Account:
    channels = (CHANNELS["facebook"], CHANNELS["instagram"])
    kept = [channel.retention if retention is None else retention for channel in channels]
    return account_of([
        replace(channel, slope=slope, lag_days=lag_days, retention=keeps)
        for channel, keeps in zip(channels, kept, strict=True)
    ])  # fmt: skip


def short(account: Account, days: int, seed: int = 0) -> Context:
    return replace(account, horizon_days=days).draw(np.random.default_rng(seed))


def best_of_a_grid(context: Context, steps: int = 10) -> float:
    """Worth of the best of all plans whose spends are whole steps of the largest spend."""
    problem = Problem(context)
    levels = np.linspace(0, 1, steps + 1)
    most = np.minimum(np.array(context.caps), context.budget)
    best, size = -np.inf, context.horizon_days * len(context.channels)
    slopes = Slopes([context])
    plans = levels[np.array(list(itertools.product(range(steps + 1), repeat=size)))]
    plans = plans.reshape(-1, context.horizon_days, len(context.channels)) * most
    plans = plans[plans.sum(axis=(1, 2)) <= context.budget * (1 + 1e-9)]
    worth = Slopes([context] * len(plans)).worth(plans)
    best = plans[worth.argmax()]
    assert slopes.worth(best[None])[0] == worth.max()
    return problem.worth(best)


@pytest.mark.parametrize("slope", [1.5, 3.0, 8.0])
@pytest.mark.parametrize(("share", "target"), [(0.4, 0.0), (1.0, 0.0), (1.0, 0.8)])
def test_the_plan_is_as_good_as_the_best_of_all_on_a_grid_and_none_exceeds_the_bound(
    slope: float, share: float, target: float
) -> None:
    drawn = short(bent(slope), days=2)
    context = replace(drawn, budget=share * drawn.budget, target_marginal=target)
    plan, tried = solve(context), best_of_a_grid(context)
    assert plan.worth >= tried * (1 - 1e-9)
    assert plan.worth + plan.gap >= tried
    assert plan.spends.sum() <= context.budget


def test_the_plan_of_a_horizon_is_within_a_hundredth_of_the_bound() -> None:
    plans = solve_all(replace(bent(), horizon_days=14).draw_many(np.random.default_rng(0), 3))
    assert all(plan.gap >= 0 for plan in plans)
    assert max(plan.relative_gap for plan in plans) < 0.01


def test_a_plan_climbs_as_far_beside_others_as_alone() -> None:
    contexts = replace(bent(), horizon_days=10).draw_many(np.random.default_rng(3), 5)
    starts = np.random.default_rng(4).uniform(0, 1500, (5, 10, 2))
    together = climb(Slopes(contexts), starts)
    for context, start, plan in zip(contexts, starts, together, strict=True):
        alone = Slopes([context])
        assert climb(alone, start[None])[0] == pytest.approx(plan, rel=1e-9, abs=1e-6)
        assert alone.worth(plan[None])[0] > alone.worth(alone.project(start[None]))[0]


def test_the_nearest_plan_within_a_budget_lowers_all_spends_by_one_amount() -> None:
    rng = np.random.default_rng(0)
    contexts = replace(bent(), horizon_days=12, cap_factor=0.7).draw_many(rng, 200)
    slopes = Slopes(contexts)
    wanted = rng.normal(0, 1000, (200, 12, 2)) * rng.lognormal(0, 2, (200, 1, 1))
    plans = slopes.project(wanted)
    total, most = plans.sum(axis=(1, 2)), np.clip(wanted, 0, slopes.caps).sum(axis=(1, 2))
    assert total == pytest.approx(np.minimum(most, slopes.budget), rel=1e-9)
    assert 0 < (most > slopes.budget).mean() < 1
    is_between = (plans > 0) & (plans < slopes.caps)
    lowered = np.where(is_between, wanted - plans, np.nan)
    first = np.nanmin(lowered, axis=(1, 2), where=is_between, initial=np.inf)
    assert np.where(is_between, lowered - first[:, None, None], 0.0) == pytest.approx(0.0, abs=1e-6)


def test_the_bound_is_tight_where_the_curves_are_concave() -> None:
    contexts = account_of((CHANNELS["facebook"], CHANNELS["search"]), 10).draw_many(np.random.default_rng(0), 2)
    for context, (spends, bound), plan in zip(contexts, search(contexts), solve_all(contexts), strict=True):
        assert Problem(context).worth(spends) == pytest.approx(plan.worth, rel=1e-5)
        assert plan.worth <= bound <= plan.worth * 1.001


def test_the_bound_holds_at_any_price_and_for_any_cells() -> None:
    context = short(bent(), days=10, seed=1)
    best = solve(context).worth
    for cells in (10, 200):
        pricing = Pricing([context], cells)
        for price in np.geomspace(1e-3, 1e2, 6):
            assert pricing.at(price * pricing.scale).bound[0] >= best


@pytest.mark.parametrize(
    "changes",
    [
        {"budget": 0.0},
        {"budget": 1e9},
        {"caps": (0.0, 2000.0)},
        {"past_spends": ((), ())},
        {"demand": (0.0, 1.0, 0.0, 2.0)},
        {"demand": (1.0,)},
    ],
)
def test_an_awkward_context_has_a_plan_within_its_limits(changes: dict[str, object]) -> None:
    awkward = replace(short(bent(), days=8), **changes)  # type: ignore[arg-type]
    plan = solve(awkward)
    assert np.isfinite(plan.worth)
    assert plan.relative_gap < 0.02
    assert plan.spends.sum() <= awkward.budget
    assert (plan.spends <= np.array(awkward.caps)).all()


@pytest.mark.parametrize("slope", [0.9, 2.5])
def test_a_plan_replayed_in_the_environment_sells_the_same_with_lag_and_drift(slope: float) -> None:
    drifting = replace(bent(slope, lag_days=3), horizon_days=12, drift=0.05)
    context = drifting.draw(np.random.default_rng(2))
    plan = solve(context)
    campaigns = Campaigns.of([context])
    sales = sum(float(campaigns.spend(day[None])[0]) for day in plan.spends)
    assert sales == pytest.approx(plan.sales, rel=1e-9)
    assert plan.relative_gap < (1e-6 if slope < 1 else 0.02)
    assert plan.spends[-3:].max() == pytest.approx(0.0, abs=1e-3)  # they would act after the horizon


@pytest.mark.parametrize("target", [0.0, 0.1])
@pytest.mark.parametrize("slope", [0.9, 2.5])
def test_no_money_goes_to_days_after_which_a_lag_ends_the_horizon_even_where_the_caps_leave_it_over(
    slope: float, target: float
) -> None:
    lagged, other = bent(slope, lag_days=3).channels
    account = replace(bent(slope), channels=(lagged, replace(other, lag_days=0)), horizon_days=12)
    drawn = account.draw_many(np.random.default_rng(0), 2)
    contexts = [replace(context, caps=(400.0, 400.0), budget=1e5, target_marginal=target) for context in drawn]
    resolved, _ = play_rule(Resolve(contexts), contexts)
    for plan, anew in zip(solve_all(contexts), resolved, strict=True):
        assert (plan.spends[-3:, 0] == 0).all()
        assert (anew[-3:, 0] == 0).all()
        assert plan.relative_gap < (1e-6 if slope < 1 else 0.02)
        if not target:  # nothing better can be done with the money than the caps
            assert plan.spends[:9, 0] == pytest.approx(400.0, rel=1e-3)
            assert plan.spends[:11, 1] == pytest.approx(400.0, rel=1e-3)


def test_a_lag_moves_sales_and_changes_none() -> None:
    steady = replace(bent(0.9), event_probability=0.0, weekday_demand=(1.0,) * 7)
    now = short(steady, days=20)
    later = replace(now, channels=tuple(replace(channel, lag_days=4) for channel in now.channels))
    spends = np.zeros((20, 2))
    spends[:16] = 500.0
    idle = [replace(context, past_spends=((), ())) for context in (now, later)]
    first, second = (Problem(context) for context in idle)
    early = Problem(replace(idle[0], demand=idle[0].demand[:16]))
    assert second.sales(spends) == pytest.approx(early.sales(spends[:16]))
    assert first.sales(spends) > second.sales(spends)


def test_solving_anew_every_day_beats_an_even_split_of_s_shaped_curves() -> None:
    contexts = replace(bent(), horizon_days=6).draw_many(np.random.default_rng(0), 2)
    best = np.array([plan.worth for plan in solve_all(contexts)])
    anew, simple = (regret(play_rule(rule, contexts)[1], best) for rule in (Resolve(contexts), even))
    assert anew.mean() < 0.02 < simple.mean()


@pytest.mark.parametrize("weighs_carry_over", [True, False])
@pytest.mark.parametrize("slope", [0.9, 2.5])
def test_the_rule_of_marginal_returns_misses_less_than_an_even_split(slope: float, weighs_carry_over: bool) -> None:  # noqa: FBT001
    account = replace(bent(slope), horizon_days=14)
    contexts = account.draw_many(np.random.default_rng(0), 4)
    best = np.array([plan.worth for plan in solve_all(contexts)])
    rule = MarginalRule(account, weighs_carry_over=weighs_carry_over)
    spends, sales = play_rule(rule, contexts)
    assert regret(sales, best).mean() < 0.5 * regret(play_rule(even, contexts)[1], best).mean()
    assert (spends.sum(axis=(1, 2)) <= np.array([context.budget for context in contexts]) * (1 + 1e-9)).all()


def test_a_curve_bends_upward_until_its_inflection_and_downward_from_there() -> None:
    (channel, _) = bent(2.5).channels
    at = channel.inflection * np.array([[0.99], [1.01]])
    before, after = Response([channel]).saturation_rate(at)[:, 0]
    assert before < 0 < after
    assert replace(channel, slope=1.0).inflection == 0
