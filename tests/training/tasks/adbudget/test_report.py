"""The page of an account: what it claims, and whether one can read its pictures."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from polserve.training.environments.making import EVALUATION_FIRST_SEED, EnvironmentSpec
from polserve.training.learning.scores import SelectionGames
from polserve.training.runs.stages import Stages
from polserve.training.tasks.adbudget.accounts import CHANNELS, account_of, default_account
from polserve.training.tasks.adbudget.curves.fit import Fit, fit_response
from polserve.training.tasks.adbudget.environment import ALLOCATION_ID
from polserve.training.tasks.adbudget.history.history import Truth, simulate_history
from polserve.training.tasks.adbudget.plans.optimum import solve_all
from polserve.training.tasks.adbudget.plans.rules import Resolve, play_worth, regret
from polserve.training.tasks.adbudget.report.figures import fitted_sales, parts_of_sales, plans, response_curves
from polserve.training.tasks.adbudget.report.page import sentence, write_allocation_report
from polserve.training.tasks.adbudget.report.regret import Difference, RegretReport, measure_regret, parts_of
from polserve.training.tasks.adbudget.task import ADBUDGET
from polserve.training.tasks.task import ReportRequest
from tests.support.allocating import ReferencePlan


@pytest.fixture(scope="module")
def fit() -> Fit:
    truth = Truth(channels=(CHANNELS["facebook"], CHANNELS["search"]), base_sales=1500.0)
    history = replace(simulate_history(truth, 120, np.random.default_rng(0)), currency="EUR")
    return fit_response(history, np.random.default_rng(0), members=3)


@pytest.fixture(scope="module")
def compared(fit: Fit) -> tuple[RegretReport, int]:
    account, advanced = fit.account(horizon_days=12), list[int]()
    report = measure_regret(ReferencePlan(account), account, 12, fit, advanced.append)
    return report, sum(advanced)


def test_the_optimum_misses_nothing_and_a_solver_less_than_any_rule(compared: tuple[RegretReport, int]) -> None:
    report, _ = compared
    assert (report.optimum.mean_regret, report.optimum.missed_sales) == (0.0, 0.0)
    assert 0 <= report.resolved.mean_regret < min(line.mean_regret for line in [report.policy, *report.rules])
    assert all(line.violations == 0 and line.contexts == 12 for line in report.lines[:-1])
    assert report.other_worlds is not None
    assert report.other_worlds.contexts == 3 * 12


@pytest.mark.parametrize("probability", [0.0, 0.6])
def test_rules_and_the_solver_expect_the_events_of_the_account(probability: float) -> None:
    account = replace(account_of([CHANNELS["facebook"], CHANNELS["display"]], 12), event_probability=probability)
    report = measure_regret(ReferencePlan(account), account, 12, None, lambda _: None)
    by_default = Resolve(contexts := account.draw_many(np.random.default_rng(EVALUATION_FIRST_SEED), 12))
    best = np.array([plan.worth for plan in solve_all(contexts)])
    assert report.resolved.mean_regret < 0.8 * float(regret(play_worth(by_default, contexts), best).mean())
    if probability == 0:  # nothing is unknown
        assert report.resolved.mean_regret == pytest.approx(0, abs=1e-6)


def test_progress_is_told_as_often_as_was_said_before(compared: tuple[RegretReport, int], fit: Fit) -> None:
    report, advanced = compared
    assert advanced == parts_of(report.account, fit)


def test_progress_weighs_the_searches_for_plans_of_s_shaped_curves() -> None:
    account = account_of([replace(CHANNELS["facebook"], slope=2.0), CHANNELS["search"]], horizon_days=4)
    advanced = list[int]()
    measure_regret(ReferencePlan(account), account, 2, None, advanced.append)
    assert sum(advanced) == parts_of(account, None)
    assert advanced[0] > 1
    assert sum(parts > 1 for parts in advanced) == 2


@pytest.mark.parametrize(("slope", "is_told"), [(2.0, True), (0.9, False)])
def test_a_run_says_that_plans_are_searched_for_and_how_to_search_for_fewer(
    tmp_path: Path, slope: float, *, is_told: bool
) -> None:
    account = account_of([replace(CHANNELS["facebook"], slope=slope), CHANNELS["search"]], horizon_days=3)
    setup = ADBUDGET.set_up(EnvironmentSpec(ALLOCATION_ID, {"account": account}), SelectionGames(0, 2, 3))
    said = Console(file=io.StringIO(), width=300)
    setup.write_report(ReportRequest("shop", ReferencePlan(account), 4, tmp_path), Stages(said))
    told = "S-shaped curves: the best plans of 4 contexts are searched for; fewer, by --set evaluation_episodes=1, take"
    assert isinstance(said.file, io.StringIO)
    assert (told in said.file.getvalue()) is is_told


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-0.02, -0.01, "misses less than the allocator 'a rule': -1.500 percentage points of the best sales, 95 %"),
        (0.01, 0.02, "misses more than the allocator 'a rule': +1.500 percentage points of the best sales, 95 %"),
        (-0.001, 0.002, "misses neither clearly more nor clearly less than the allocator 'a rule'"),
    ],
)
def test_a_policy_is_better_only_where_the_interval_says_so(low: float, high: float, said: str) -> None:
    difference = Difference("a rule", (low + high) / 2, low, high)
    told = sentence(difference, 200, "sales")
    assert said in told
    assert f"95 % interval {100 * low:+.3f} to {100 * high:+.3f}, paired over 200 contexts" in told


def test_under_a_target_what_is_missed_is_not_called_sales(tmp_path: Path) -> None:
    account = replace(default_account(2, horizon_days=4), target_marginal=1.2)
    report = measure_regret(ReferencePlan(account), account, 4, None, lambda _: None)
    write_allocation_report(tmp_path, "shop", report, None)
    page = " ".join((tmp_path / "allocation.html").read_text(encoding="utf-8").split())
    assert page.count("percentage points of the best sales less the target&#x27;s return, 95 %") == 2
    assert "<th>sales less the target's return missed a horizon (USD)</th>" in page
    assert "Regret is the share of the best plan's sales less the target's return, within" in page
    assert "best sales," not in page
    assert "returns less than 1.20 for each unit" in page
    environment = EnvironmentSpec(ALLOCATION_ID, {"account": account})
    games = SelectionGames(first_seed=0, episodes=2, max_steps=10)
    assert ADBUDGET.set_up(environment, games).score_name == "percentage of the best sales less the target's return"


def test_the_difference_is_taken_context_by_context(compared: tuple[RegretReport, int]) -> None:
    to_rule, to_solver = compared[0].to_best_rule, compared[0].to_resolved
    by_name = {line.name: line.mean_regret for line in compared[0].lines}
    policy = compared[0].policy.mean_regret
    for difference in (to_rule, to_solver):
        assert difference.low <= difference.mean <= difference.high
        assert difference.mean == pytest.approx(policy - by_name[difference.other])
    assert "equal marginal returns" in to_rule.other
    assert to_solver.low > 0


def test_no_legend_covers_what_it_explains(compared: tuple[RegretReport, int], fit: Fit) -> None:
    report, _ = compared
    pictures = [plans(report), response_curves(report.account, fit), fitted_sales(fit, "EUR")]
    pictures.append(parts_of_sales(fit, "EUR"))
    pictures.append(response_curves(default_account(5), None))
    for figure in pictures:
        figure.draw_without_rendering()
        (legend,) = figure.legends
        assert not any(legend.get_window_extent().overlaps(axes.get_window_extent()) for axes in figure.axes)


def labels(figure: Figure) -> list[str]:
    return [text for axes in figure.axes for text in (axes.get_xlabel(), axes.get_ylabel()) if text]


def test_axes_of_money_name_the_currency(compared: tuple[RegretReport, int], fit: Fit) -> None:
    curves = labels(response_curves(compared[0].account, fit))
    assert curves == 2 * ["steady spend a day (EUR)", "sales a day (EUR)"]
    assert labels(plans(compared[0]))[0] == "spend a day (EUR)"
    assert labels(fitted_sales(fit, "EUR")) == ["sales a day (EUR)"]


def test_a_large_target_is_written_in_full(tmp_path: Path) -> None:
    account = replace(default_account(2, horizon_days=3), target_marginal=1234)
    report = measure_regret(ReferencePlan(account), account, 3, None, lambda _: None)
    write_allocation_report(tmp_path, "shop", report, None)
    assert "returns less than 1234.00 for each unit" in (tmp_path / "allocation.html").read_text(encoding="utf-8")


def test_returns_that_are_no_money_are_named_by_their_unit(tmp_path: Path) -> None:
    account = replace(default_account(2, horizon_days=3), return_unit="<leads>", target_marginal=0.01)
    report = measure_regret(ReferencePlan(account), account, 3, None, lambda _: None)
    assert labels(response_curves(account, None)) == 2 * ["steady spend a day (USD)", "sales a day (<leads>)"]
    write_allocation_report(tmp_path, "shop", report, None)
    page = " ".join((tmp_path / "allocation.html").read_text(encoding="utf-8").split())
    assert "missed a horizon (&lt;leads&gt;)</th>" in page
    assert "<th>&lt;leads&gt; for each USD</th>" in page
    assert "returns less than 0.01 &lt;leads&gt; for each unit" in page
    assert page.count("(USD)") == page.count("spend a day (USD)") == 1
    assert "return on ad spend" not in page
    assert json.loads((tmp_path / "allocation.json").read_text())["sales_unit"] == "<leads>"


def test_the_page_says_which_draws_drift_and_noise_were_met(tmp_path: Path) -> None:
    account = default_account(2, horizon_days=3)
    draws = tuple(
        tuple(replace(channel, sales_max=factor * channel.sales_max) for channel in account.channels)
        for factor in (0.5, 2.0, 3.0)
    )
    account = replace(account, ensemble=draws, drift=0.02, sales_noise=0.1)
    report = measure_regret(ReferencePlan(account), account, 3, None, lambda _: None)
    write_allocation_report(tmp_path, "shop", report, None)
    page = " ".join((tmp_path / "allocation.html").read_text(encoding="utf-8").split())
    assert "Each context has the curves of one of 3 draws." in page
    assert "the optimum knows the context's draw" in page
    assert "by a daily step of standard deviation 0.02 of its logarithm" in page
    assert "noise of standard deviation 0.1 of their logarithm. Here the expected sales count, without it" in page
    assert "Thin grey lines are the 3 draws." in page
    lines = response_curves(account, None).axes[1].lines
    assert [line.get_color() for line in lines] == ["grey", "grey", "grey", "C0"]
    highest = [np.asarray(line.get_ydata()).max() for line in lines]
    assert np.array(highest[:3]) / highest[3] == pytest.approx([0.5, 2.0, 3.0])


def test_a_page_of_known_curves_speaks_of_no_draws(tmp_path: Path) -> None:
    account = default_account(2, horizon_days=2)
    report = measure_regret(ReferencePlan(account), account, 2, None, lambda _: None)
    write_allocation_report(tmp_path, "shop", report, None)
    page = re.sub(r'src="[^"]*"', "", (tmp_path / "allocation.html").read_text(encoding="utf-8"))
    assert not any(word in page for word in ("draw", "drift", "noise"))


def test_where_nothing_was_sold_at_the_end_the_page_says_so(fit: Fit, tmp_path: Path) -> None:
    history = replace(fit.history, sales=np.where(np.arange(120) < 100, fit.history.sales, 0.0))
    closed = fit_response(history, np.random.default_rng(0), members=2)
    assert "nothing was sold on the last 20 days: no forecast can be held against them" in closed.statement()
    account = closed.account(horizon_days=2)
    report = measure_regret(ReferencePlan(account), account, 2, closed, lambda _: None)
    write_allocation_report(tmp_path, "shop", report, closed)
    assert "nothing was sold on the last 20 days" in (tmp_path / "allocation.html").read_text(encoding="utf-8")
    assert "holdout" not in json.loads((tmp_path / "allocation.json").read_text())["fit"]


def test_every_observed_day_is_marked_on_its_curve(compared: tuple[RegretReport, int], fit: Fit) -> None:
    figure = response_curves(compared[0].account, fit)
    for axes, spends in zip(figure.axes, fit.history.spends.T, strict=True):
        (marks,) = (line for line in axes.lines if line.get_label() == "a day")
        assert np.array_equal(np.asarray(marks.get_xdata()), spends)


def test_fitted_sales_stand_beside_the_actual_ones(fit: Fit) -> None:
    actual, fitted, foretold = fitted_sales(fit, "EUR").axes[0].lines
    assert np.array_equal(np.asarray(actual.get_ydata()), fit.history.sales)
    error = np.asarray(fitted.get_ydata()) - fit.history.sales
    assert 1 - (error**2).sum() / ((fit.history.sales - fit.history.sales.mean()) ** 2).sum() == pytest.approx(
        fit.r_squared
    )
    assert fit.holdout is not None
    assert np.array_equal(np.asarray(foretold.get_ydata()), fit.holdout.forecast)


def test_parts_of_the_sales_are_stacked_up_to_the_fitted_sales(fit: Fit) -> None:
    top = parts_of_sales(fit, "EUR").axes[0].collections[-1].get_paths()[0].vertices
    weeks = fit.expected[: len(fit.expected) // 7 * 7].reshape(-1, 7).mean(axis=1)
    assert np.asarray(top)[:, 1].max() == pytest.approx(weeks.max())


def test_parts_of_the_sales_add_up_to_the_actual_ones_and_channels_have_a_return(
    compared: tuple[RegretReport, int], fit: Fit, tmp_path: Path
) -> None:
    write_allocation_report(tmp_path, "shop", compared[0], fit)
    section = (tmp_path / "allocation.html").read_text(encoding="utf-8").split("<h2>The fit</h2>")[1]
    cells = [re.findall("<td>(.*?)</td>", row) for row in re.findall("<tr>(.*?)</tr>", section, re.DOTALL)]
    means = {row[0]: float(row[1].replace(",", "")) for row in cells if row}
    parts = [means[name] for name in fit.decomposition.names]
    assert sum(parts) == pytest.approx(means["all of these, fitted"], abs=0.1)
    assert sum(parts) + means["what nothing explains"] == pytest.approx(means["actual sales"], abs=0.1)
    assert means["actual sales"] == pytest.approx(fit.history.sales.mean(), abs=0.01)
    facebook = next(row for row in cells if row and row[0] == "facebook")
    assert float(facebook[3].replace(",", "")) == pytest.approx(fit.history.spends[:, 0].mean(), abs=0.01)
    assert float(facebook[4]) == pytest.approx(means["facebook"] / fit.history.spends[:, 0].mean(), abs=0.01)


def test_the_page_needs_nothing_else_and_gives_figures_in_money(
    compared: tuple[RegretReport, int], fit: Fit, tmp_path: Path
) -> None:
    write_allocation_report(tmp_path, "shop", compared[0], fit)
    page = (tmp_path / "allocation.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 4
    assert "<tr><td>facebook</td><td>" in page
    assert "sales missed a horizon (EUR)" in page
    assert "95 % interval" in page
    figures = json.loads((tmp_path / "allocation.json").read_text())
    assert figures["currency"] == "EUR"
    assert set(figures["fit"]["curves"]) == {"facebook", "search"}
    assert sum(figures["fit"]["sales_a_day"].values()) == pytest.approx(fit.expected.mean())
    assert figures["fit"]["actual_sales_a_day"] == pytest.approx(fit.history.sales.mean())
    assert {"mean", "low", "high"} < figures["differences"][0].keys()
    assert {path.name for path in tmp_path.glob("*.png")} == {
        "allocation.png",
        "response_curves.png",
        "fitted_sales.png",
        "parts_of_sales.png",
    }
