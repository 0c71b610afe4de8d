"""A target in place of spending all: in the best plans, the rules, the environment, the allocator and the report."""

import io
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from polserve.training.errors import InvalidOption
from polserve.training.runs.stages import Stages
from polserve.training.tasks.adbudget.accounts import Account, account_of, default_account
from polserve.training.tasks.adbudget.curves.elsewhere import read_curves
from polserve.training.tasks.adbudget.curves.response import Channel
from polserve.training.tasks.adbudget.environment import AllocationVec
from polserve.training.tasks.adbudget.plans.marginal import MarginalRule
from polserve.training.tasks.adbudget.plans.optimum import Problem, solve, solve_all
from polserve.training.tasks.adbudget.plans.rules import best_share, even, fixed_share, play_rule, play_worth, regret
from polserve.training.tasks.adbudget.plans.targets import (
    AmplePlans,
    ample_contexts,
    marginal_for_roas,
    require_spending,
    returned,
    rounded_down,
)
from polserve.training.tasks.adbudget.report.regret import measure_regret
from polserve.training.tasks.adbudget.sources import account_from_options
from polserve.training.tasks.task import TaskOptions
from tests.support.allocating import ReferencePlan
from tests.support.documents import blocks
from tests.support.running import ROOT

TARGET = 1.2
ACCOUNT = replace(default_account(2, horizon_days=10), target_marginal=TARGET)


def test_money_is_spent_until_the_next_unit_returns_the_target() -> None:
    (context,) = ample_contexts(ACCOUNT)[:1]
    plan = solve(context)
    assert plan.relative_gap < 1e-6
    assert 0 < plan.spends.sum() < context.budget
    marginal = Problem(replace(context, target_marginal=0.0)).gradient(plan.spends)
    is_between = (plan.spends > 1) & (plan.spends < np.array(context.caps) - 1)
    assert marginal[is_between] == pytest.approx(TARGET, rel=1e-3)
    assert is_between.sum() > 10


def test_a_higher_target_spends_less_and_one_that_nothing_reaches_spends_nothing() -> None:
    (context,) = ample_contexts(ACCOUNT)[:1]
    spent = [solve(replace(context, target_marginal=target)).spends.sum() for target in (0.5, 1.0, 2.0, 1e4)]
    assert spent == sorted(spent, reverse=True)
    assert spent[-1] == pytest.approx(0, abs=1e-3)


def test_no_target_spends_what_it_always_did() -> None:
    (context,) = default_account(2).draw_many(np.random.default_rng(0), 1)
    assert solve(context).spends.sum() == pytest.approx(context.budget)


@pytest.mark.parametrize("slope", [0.9, 2.0])
def test_a_return_on_ad_spend_is_reached_by_ample_budgets(slope: float) -> None:
    curves = [replace(channel, slope=slope) for channel in default_account(2).channels]
    account = account_of(curves, horizon_days=6 if slope > 1 else 20)
    marginal = marginal_for_roas(account, 2.0)
    assert 0 < marginal < 2.0
    contexts = [replace(context, target_marginal=marginal) for context in ample_contexts(account)]
    on_spend = returned(contexts).on_spend
    assert on_spend >= 2.0 * (1 - 1e-6)
    assert on_spend == pytest.approx(2.0, rel=0.001 if slope < 1 else 0.02)  # S-shaped channels jump in and out


def test_a_return_that_the_curves_always_exceed_holds_nothing_back() -> None:
    assert marginal_for_roas(default_account(2), 0.01) == 0


@pytest.mark.parametrize("slope", [0.9, 2.5])
def test_plans_return_at_least_what_their_last_unit_must(slope: float) -> None:
    plans = AmplePlans(account_of([replace(channel, slope=slope) for channel in default_account(2).channels], 10))
    asked = (0.5, 1.0, 1.5, 2.0, 4.0)
    reached = [plans.at(marginal) for marginal in asked]
    returns = [each.on_spend for each in reached]
    assert returns == sorted(returns)
    assert all(each.on_spend >= marginal for each, marginal in zip(reached, asked, strict=True))


@pytest.mark.parametrize("slope", [0.9, 2.5])
@pytest.mark.parametrize("roas", [8.0, 1e5, 1e300])
def test_a_return_that_plans_reach_for_next_to_no_money_is_refused_with_the_most_that_can_be(
    roas: float, slope: float
) -> None:
    account = account_of([replace(channel, slope=slope) for channel in default_account(2).channels], horizon_days=8)
    with pytest.raises(InvalidOption, match=r"target_roas: expected at most .* on average no more in plans") as refusal:
        marginal_for_roas(account, roas)
    most = figure_of(refusal.value)
    plans = AmplePlans(account)
    reached = plans.at(marginal_for_roas(account, most))
    assert reached.on_spend >= most * (1 - 1e-6)
    assert plans.is_enough(reached)
    with pytest.raises(InvalidOption, match="at most"):
        marginal_for_roas(account, 1.02 * most)


@pytest.mark.parametrize("slope", [0.9, 2.5])
def test_a_last_unit_that_leaves_next_to_nothing_to_spend_is_refused(slope: float) -> None:
    account = account_of([replace(channel, slope=slope) for channel in default_account(2).channels], horizon_days=8)
    with pytest.raises(InvalidOption, match=r"target_marginal: expected at most .*the last unit of money") as refusal:
        require_spending(account, 1e4)
    require_spending(account, figure_of(refusal.value))


@pytest.mark.parametrize(("option", "require"), [("roas", marginal_for_roas), ("marginal", require_spending)])
def test_caps_that_allow_next_to_no_spending_are_named_under_a_target(
    option: str, require: Callable[[Account, float], object]
) -> None:
    told = rf"target_{option}: expected caps .* 1 % of the greatest budgets, got cap_factor=0.004 for 2 channels; give"
    with pytest.raises(InvalidOption, match=told):
        require(replace(default_account(2, horizon_days=8), cap_factor=0.004), 0.1)


@pytest.mark.parametrize(
    ("number", "rounded"),
    [(0.102, 0.102), (0.1029, 0.102), (8.0, 8.0), (1.005, 1.0), (12345.0, 12300.0), (3e-9, 3e-9), (1e300, 1e300)],
)
def test_a_figure_is_rounded_down_and_three_digits_stay_as_they_are(number: float, rounded: float) -> None:
    assert rounded_down(number) == rounded


@pytest.mark.parametrize("target", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["target_roas", "target_marginal"])
def test_a_target_that_is_none_is_refused_before_a_file_is_read(name: str, target: float) -> None:
    asked = replace(TaskOptions(data=Path("not-there.csv")), **{name: target})  # type: ignore[arg-type]
    with pytest.raises(InvalidOption, match=f"{name}: expected a number above 0, got"):
        account_from_options({}, asked, Stages(Console(file=io.StringIO())))


def test_the_targets_of_the_docs_can_be_reached_with_their_curves(tmp_path: Path) -> None:
    path = tmp_path / "curves.json"
    (curves,) = (block for block in blocks("docs/adbudget.md", "json") if '"half_saturation"' in block)
    path.write_text(curves)
    targets = re.findall(r"--curves curves\.json --target-roas ([\d.]+)", (ROOT / "docs/adbudget.md").read_text())
    assert targets
    for target in targets:
        told, _ = account_from_options(
            {}, TaskOptions(curves=path, target_roas=float(target)), Stages(Console(file=io.StringIO()))
        )
        assert 0 < told["target_marginal"] < float(target)
    with pytest.raises(InvalidOption, match=r"target_roas: expected at most 1, got 1\.1"):
        marginal_for_roas(read_curves(path).account(), 1.1)


def figure_of(refusal: InvalidOption) -> float:
    """The greatest target that a refusal names."""
    (figure,) = re.findall(r"at most ([\d.e+]+),", str(refusal))
    return float(figure)


def test_the_reward_is_the_sales_less_what_the_target_asks_of_the_money() -> None:
    spends = np.array([[300.0, 200.0]], np.float32)
    rewards = []
    for account in (ACCOUNT, replace(ACCOUNT, target_marginal=0.0)):
        env = AllocationVec(1, account)
        env.reset(seed=0)
        rewards.append(env.step(spends)[1][0])
    assert rewards[1] - rewards[0] == pytest.approx(TARGET * 500)


def test_the_rule_of_marginal_returns_keeps_to_the_target_and_an_even_split_does_not() -> None:
    contexts = ACCOUNT.draw_many(np.random.default_rng(0), 6)
    best = np.array([plan.worth for plan in solve_all(contexts)])
    by_rule, simple = (regret(play_worth(rule, contexts), best) for rule in (MarginalRule(ACCOUNT), even))
    assert (by_rule >= -1e-6).all()
    assert by_rule.mean() < 0.02 < simple.mean()


@pytest.mark.parametrize(("first", "other"), [((500.0, 2000.0), (300.0, 600.0)), ((500.0, 5000.0), (500.0, 1000.0))])
def test_the_best_fixed_share_under_a_target_is_as_good_as_any_on_a_grid(
    first: tuple[float, float], other: tuple[float, float]
) -> None:
    channels = [
        Channel(name=name, retention=0.3, half_saturation=half, sales_max=most)
        for name, (half, most) in (("first", first), ("other", other))
    ]
    contexts = replace(account_of(channels), target_marginal=1.0).draw_many(np.random.default_rng(5), 6)
    best = np.array([plan.worth for plan in solve_all(contexts)])

    def mean_regret(share: NDArray[np.float64]) -> float:
        return float(regret(play_worth(fixed_share(share), contexts), best).mean())

    parts = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6)
    grid = min(mean_regret(np.array(share)) for share in product(parts, repeat=2) if sum(share) <= 1)
    assert mean_regret(best_share(contexts, best, fixed_share)) <= grid + 1e-6


def test_the_reference_plan_leaves_money_that_would_return_too_little() -> None:
    rich = replace(ACCOUNT, daily_budget=(6000.0, 6000.0))
    contexts = rich.draw_many(np.random.default_rng(0), 4)
    report = measure_regret(ReferencePlan(rich), rich, 4, None, lambda _: None)
    assert report.policy.budget_spent < 0.7
    assert report.policy.return_on_spend > report.rules[-1].return_on_spend  # the caps until the money is gone
    assert report.policy.mean_regret < 0.1
    spends, _ = play_rule(even, contexts)
    assert spends.sum() == pytest.approx(sum(context.budget for context in contexts))


def test_regret_over_uncertain_curves_counts_what_nobody_can_know() -> None:
    known = replace(default_account(2, horizon_days=8), event_probability=0.0)
    draws = tuple(
        tuple(
            replace(channel, sales_max=factor * channel.sales_max)
            for channel, factor in zip(known.channels, factors, strict=True)
        )
        for factors in ((0.5, 2.0), (2.0, 0.5))
    )
    unsure = replace(known, ensemble=draws, drift=0.05)
    sure, open_ = (
        measure_regret(ReferencePlan(account), account, 6, None, lambda _: None) for account in (known, unsure)
    )
    assert (open_.optimum.mean_regret, open_.largest_gap < 1e-6) == (0.0, True)
    assert sure.resolved.mean_regret < 0.001 < open_.resolved.mean_regret
    assert open_.policy.mean_regret > open_.optimum.mean_regret
