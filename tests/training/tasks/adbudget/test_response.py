"""Response curves, contexts, and the optimum: against closed forms, each other, and the environment."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polserve.training.errors import InvalidOption
from polserve.training.tasks.adbudget.accounts import CHANNELS, default_account
from polserve.training.tasks.adbudget.campaigns import Campaigns, affordable
from polserve.training.tasks.adbudget.contexts import Context, from_json, read_contexts, to_json, write_contexts
from polserve.training.tasks.adbudget.curves.response import (
    Channel,
    Response,
    geometric_adstock,
    hill,
    logistic,
    michaelis_menten,
)
from polserve.training.tasks.adbudget.plans.optimum import (
    Problem,
    even_plan,
    solve,
    solve_all,
    solve_by_dynamic_programming,
)
from polserve.training.tasks.adbudget.plans.rules import Resolve, even, play_rule, proportional, regret


def context(n_channels: int = 2, seed: int = 0, **changes: object) -> Context:
    drawn = default_account(n_channels).draw(np.random.default_rng(seed))
    return replace(drawn, **changes)  # type: ignore[arg-type]


def test_half_of_the_most_is_sold_at_the_half_saturation() -> None:
    at = np.array([350.0])
    assert hill(at, 350.0, 0.7) == michaelis_menten(at, 350.0) == pytest.approx(0.5)
    assert logistic(at, 350.0) == pytest.approx(0.5)


def test_a_steady_spend_becomes_its_own_adstock() -> None:
    adstock = geometric_adstock(np.full((60, 2), 100.0), np.array([0.5, 0.8]))
    assert adstock[-1] == pytest.approx([100.0, 100.0], rel=1e-5)
    assert adstock[0] == pytest.approx([50.0, 20.0])


@pytest.mark.parametrize("saturation", ["hill", "logistic"])
def test_marginal_sales_are_the_slope_of_sales(saturation: str) -> None:
    channel = Channel(
        name="x", retention=0.5, half_saturation=400.0, sales_max=900.0, slope=0.8, saturation=saturation  # type: ignore[arg-type]
    )  # fmt: skip
    response, at = Response([channel]), np.array([[30.0], [400.0], [2500.0]])
    slope = (response.sales(at + 1e-3) - response.sales(at - 1e-3)) / 2e-3
    assert response.marginal_sales(at) == pytest.approx(slope, rel=1e-5)
    bend = (response.marginal_sales(at - 1e-3) - response.marginal_sales(at + 1e-3)) / 2e-3
    assert response.saturation_rate(at) == pytest.approx(bend, rel=1e-5)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("saturation", "logistc"),
        ("retention", 1.0),
        ("retention", -0.1),
        ("half_saturation", 0.0),
        ("sales_max", float("inf")),
        ("slope", 10.5),
        ("slope", 0.0),
        ("lag_days", 28),
        ("lag_days", 1.5),
    ],
)
def test_a_channel_that_cannot_be_is_refused(field: str, value: object) -> None:
    with pytest.raises(InvalidOption, match=f"facebook: {field}: expected"):
        replace(CHANNELS["facebook"], **{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("n_channels", [1, 2, 3, 8])
def test_no_plan_can_be_better_than_the_optimum_by_more_than_a_hundred_millionth(n_channels: int) -> None:
    plan = solve(context(n_channels))
    assert 0 <= plan.gap < 1e-8 * plan.sales
    assert plan.spends.sum() <= context(n_channels).budget


@pytest.mark.parametrize(
    "changes",
    [
        {"budget": 0.0},
        {"budget": 1e9},
        {"caps": (0.0, 2000.0)},
        {"caps": (1e9, 0.01)},
        {"past_spends": ((), ())},
        {"demand": (1.0,)},
        {"demand": (0.0, 1.0, 0.0, 2.0)},
        {"demand": (0.0,) * 5},
        {"demand": (1.0,) * 365},
        {"channels": (CHANNELS["facebook"], replace(CHANNELS["search"], saturation="logistic", retention=0.95))},
        {"channels": (CHANNELS["facebook"], replace(CHANNELS["search"], half_saturation=1e-2, slope=0.4))},
    ],
)
def test_the_optimum_of_an_awkward_context_is_certified_too(changes: dict[str, object]) -> None:
    awkward = replace(context(), **changes)  # type: ignore[arg-type]
    plan = solve(awkward)
    assert plan.relative_gap < 1e-6
    assert plan.spends.sum() <= awkward.budget
    assert (plan.spends <= np.array(awkward.caps)).all()


def test_contexts_solved_together_have_the_plans_that_they_have_alone() -> None:
    mixed = [context(), context(3, seed=1), context(seed=2), context(seed=3, demand=(1.0,) * 7)]
    for plan, alone in zip(solve_all(mixed), map(solve, mixed), strict=True):
        assert plan.spends == pytest.approx(alone.spends, abs=0.01)


@pytest.mark.parametrize("seed", range(3))
def test_the_optimum_replayed_in_the_environment_sells_the_same(seed: int) -> None:
    drawn = context(3, seed)
    plan = solve(drawn)
    campaigns = Campaigns.of([drawn])
    sales = sum(float(campaigns.spend(day[None])[0]) for day in plan.spends)
    assert sales == pytest.approx(plan.sales, rel=1e-9)
    assert campaigns.is_over.all()


def test_dynamic_programming_finds_the_same_where_nothing_carries_over() -> None:
    channels = tuple(replace(channel, retention=0.0) for channel in list(CHANNELS.values())[:2])
    small = context(channels=channels, demand=(1.0, 1.4, 1.0, 2.0), budget=4000.0)
    assert solve_by_dynamic_programming(small, grid=400) == pytest.approx(solve(small).sales, rel=2e-4)
    with pytest.raises(ValueError, match="retention 0"):
        solve_by_dynamic_programming(context())


def test_one_channel_without_carry_over_gets_equal_marginal_sales_every_day() -> None:
    channel = replace(CHANNELS["search"], retention=0.0)
    alone = context(1, channels=(channel,), caps=(1e9,), past_spends=((),))
    gradient = Problem(alone).gradient(solve(alone).spends)
    assert gradient == pytest.approx(np.full_like(gradient, gradient.mean()), rel=1e-3)


def test_permuted_channels_have_a_permuted_plan() -> None:
    drawn = context(3)
    turned = replace(drawn, channels=drawn.channels[::-1], caps=drawn.caps[::-1], past_spends=drawn.past_spends[::-1])
    assert solve(turned).spends[:, ::-1] == pytest.approx(solve(drawn).spends, abs=1.0)


def test_more_money_never_sells_less() -> None:
    drawn = context()
    sales = [solve(replace(drawn, budget=budget)).sales for budget in (0.0, 1.0, 1e3, 1e4, 1e5, 1e9)]
    assert sales == sorted(sales)


def test_the_gap_of_a_bad_plan_is_at_least_what_it_misses() -> None:
    problem, best = Problem(context()), solve(context())
    bad = even_plan(problem)
    assert problem.gap(bad) >= best.sales - problem.sales(bad) > 0


def test_solving_anew_every_day_is_nearly_optimal_and_rules_are_not() -> None:
    longer = [context(seed=seed) for seed in range(2)]
    drawn = [replace(one, demand=one.demand[:8], budget=one.budget * 8 / 30) for one in longer]
    best = np.array([solve(one).sales for one in drawn])
    resolved, simple = (regret(play_rule(rule, drawn)[1], best) for rule in (Resolve(drawn), even))
    assert (resolved >= -1e-6).all()
    assert resolved.mean() < 0.005
    assert simple.mean() > 0.02


def test_the_proportional_rule_spends_all_of_the_budget() -> None:
    drawn = [context(seed=seed) for seed in range(3)]
    spends, _ = play_rule(proportional(np.array([0.6, 0.4]), drawn[0].weekday_demand), drawn)
    assert spends.sum(axis=(1, 2)) == pytest.approx([one.budget for one in drawn])


def test_weekdays_are_each_contexts_own() -> None:
    usual = context()
    doubled = replace(usual, weekday_demand=(2.0,) * 7)
    _, sales = play_rule(even, [usual, doubled])
    plans = [Problem(one).sales(play_rule(even, [one])[0][0]) for one in (usual, doubled)]
    assert sales == pytest.approx(plans)
    assert sales[1] > 1.5 * sales[0]


def test_no_money_and_no_past_has_no_regret() -> None:
    nothing = context(budget=0.0, past_spends=((), ()))
    assert solve(nothing).relative_gap == 0
    _, sales = play_rule(even, [nothing])
    assert regret(sales, np.array([solve(nothing).sales])).tolist() == [0.0]


@given(
    wanted=st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=8),
    remaining=st.just(0.0) | st.floats(1e-6, 1e9),
)
def test_what_is_affordable_is_within_what_remains(wanted: list[float], remaining: float) -> None:
    spends = affordable(np.array([wanted]), np.array([remaining]))
    assert (spends >= 0).all()
    assert spends.sum() <= remaining * (1 + 1e-12)


def test_a_context_survives_being_written_down(tmp_path: Path) -> None:
    drawn = [context(seed=seed) for seed in range(3)]
    write_contexts(tmp_path / "contexts.jsonl", drawn)
    assert read_contexts(tmp_path / "contexts.jsonl") == drawn


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[]", "expected a JSON object"),
        ("{", "expected a JSON object"),
        ("{}", "no 'channels'"),
        (to_json(context()).replace('"slope": 0.9', '"slope": 30'), "facebook: slope: expected"),
        (to_json(context()).replace('"first_weekday"', '"moon"'), "moon"),
        (to_json(context(first_weekday=2)).replace('"first_weekday": 2', '"first_weekday": 2.0'), "first_weekday"),
        (
            to_json(context(budget=1.5)).replace('"budget": 1.5', '"budget": 1e300'),
            "budget: expected numbers from 0 to",
        ),
        (to_json(context()).replace('"instagram"', '"facebook"'), "names that differ"),
    ],
)
def test_a_line_that_is_no_context_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "contexts.jsonl"
    path.write_text(to_json(context()) + "\n\n" + line)
    with pytest.raises(InvalidOption, match=message) as refusal:
        read_contexts(path)
    assert ", line 3: " in str(refusal.value)
    with pytest.raises(InvalidOption):
        from_json(line)


def test_a_file_without_contexts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    with pytest.raises(InvalidOption, match="at least one context, got none"):
        read_contexts(tmp_path / "empty")
    with pytest.raises(InvalidOption, match="expected a file of contexts"):
        read_contexts(tmp_path / "absent")
