"""What the next unit of money returns on each channel, and the best steady plan: against the truth and all splits."""

import html
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from polserve.training.tasks.adbudget.accounts import CHANNELS, Account, account_of
from polserve.training.tasks.adbudget.curves.earlier import with_earlier
from polserve.training.tasks.adbudget.curves.fit import Fit, fit_response
from polserve.training.tasks.adbudget.curves.response import Channel, Floats, Response
from polserve.training.tasks.adbudget.history.history import Truth, simulate_history
from polserve.training.tasks.adbudget.report.money_table import money_lines, money_section
from polserve.training.tasks.adbudget.report.next_money import NextMoney, find_next_money, steady_plan
from polserve.training.tasks.adbudget.report.page import write_allocation_report
from polserve.training.tasks.adbudget.report.regret import measure_regret
from tests.support.allocating import ReferencePlan

CONCAVE = (CHANNELS["facebook"], CHANNELS["search"])
S_SHAPED = tuple(replace(channel, slope=1.8) for channel in CONCAVE)
LAST_DAYS = 28


def fitted(channels: tuple[Channel, ...], members: int = 20) -> Fit:
    known = simulate_history(Truth(channels=channels, base_sales=1500.0), 540, np.random.default_rng(0))
    return fit_response(replace(known, currency="EUR"), np.random.default_rng(1), members)


@pytest.fixture(scope="module", params=[CONCAVE, S_SHAPED], ids=["concave", "S-shaped"])
def known(request: pytest.FixtureRequest) -> tuple[tuple[Channel, ...], Fit]:
    return request.param, fitted(request.param)


@pytest.fixture(scope="module")
def fit() -> Fit:
    return fitted(CONCAVE, members=5)


def difference(channels: tuple[Channel, ...], spends: Floats) -> Floats:
    """Sales that one more unit of money a day adds on each channel (channels,), by two steady spends a little apart."""
    response, step = Response(channels), 1e-4 * spends
    return np.asarray((response.sales(spends + step) - response.sales(spends - step)) / (2 * step))


def test_the_next_money_returns_what_the_truth_says(known: tuple[tuple[Channel, ...], Fit]) -> None:
    channels, fit = known
    spends = fit.history.spends[-LAST_DAYS:].mean(axis=0)
    found = find_next_money(fit.account(), fit)
    for channel, money, true in zip(found.channels, spends, difference(channels, spends), strict=True):
        assert channel.today is not None
        assert channel.today.money == pytest.approx(money)
        returned = channel.today.returned
        assert returned is not None
        assert returned.interval is not None
        assert returned.value == pytest.approx(true, rel=0.2)
        assert returned.interval[0] <= true <= returned.interval[1]
        assert returned.interval[1] - returned.interval[0] < true


def test_the_next_money_is_the_slope_of_the_curve_that_is_planned_with(known: tuple[tuple[Channel, ...], Fit]) -> None:
    _, fit = known
    today = [channel.today for channel in find_next_money(fit.account(), fit).channels if channel.today is not None]
    returned = [spend.returned.value for spend in today if spend.returned is not None]
    spends = np.array([spend.money for spend in today])
    assert returned == pytest.approx(difference(fit.channels_today, spends), rel=1e-4)


def test_the_plan_splits_the_same_money_so_that_the_next_returns_the_same_everywhere(fit: Fit) -> None:
    found = find_next_money(fit.account(), fit)
    today = fit.history.spends[-LAST_DAYS:].mean(axis=0)
    assert sum(channel.planned.money for channel in found.channels) == pytest.approx(today.sum())
    first, second = (channel.planned.returned for channel in found.channels)
    assert first is not None
    assert second is not None
    assert first.value == pytest.approx(second.value, rel=1e-3)
    assert found.gain is not None
    response = Response(fit.channels_today)
    planned = np.array([channel.planned.money for channel in found.channels])
    assert found.gain.value == pytest.approx(float(response.sales(planned).sum() - response.sales(today).sum()))
    assert found.gain.value > 0


@pytest.mark.parametrize("money", [300.0, 900.0, 3000.0])
@pytest.mark.parametrize("channels", [CONCAVE, S_SHAPED], ids=["concave", "S-shaped"])
@pytest.mark.parametrize("target", [0.0, 0.8])
def test_no_other_steady_split_sells_more(channels: tuple[Channel, ...], money: float, target: float) -> None:
    account = replace(account_of(channels), target_marginal=target)

    def worth(spends: Floats) -> Floats:
        return np.asarray(Response(channels).sales(spends).sum(axis=-1) - target * spends.sum(axis=-1))

    plan = steady_plan(account, money)
    assert plan.sum() <= money * (1 + 1e-9)
    every = np.stack(np.meshgrid(*[np.linspace(0, money, 301)] * 2), axis=-1).reshape(-1, 2)
    assert worth(plan) >= worth(every[every.sum(axis=1) <= money * (1 + 1e-9)]).max() * (1 - 1e-4)


def test_a_lag_changes_no_steady_plan() -> None:
    later = tuple(replace(channel, lag_days=14) for channel in CONCAVE)
    assert steady_plan(account_of(later), 900) == pytest.approx(steady_plan(account_of(CONCAVE), 900))


def test_under_a_target_the_plan_spends_until_the_next_money_returns_the_target(fit: Fit) -> None:
    account = replace(fit.account(), target_marginal=1.1)
    found = find_next_money(account, fit)
    assert found.money == account.daily_budget[1]
    for channel in found.channels:
        assert channel.planned.returned is not None
        assert channel.planned.returned.value == pytest.approx(1.1, rel=1e-3)
    page = money_section(found, account)
    assert page.count("<th>target</th>") == 1
    assert page.count("<td>1.10</td>") == 2
    assert "a day to the sales less the target's return of the last 28 days' split" in money_lines(found, account)[-1]


def test_a_channel_that_rested_lately_has_no_return_of_its_own(fit: Fit) -> None:
    spends = fit.history.spends.copy()
    spends[-LAST_DAYS:, 0] = 0.0
    rested = replace(fit, history=replace(fit.history, spends=spends))
    found = find_next_money(fit.account(), rested)
    assert found.channels[0].today is not None
    assert found.channels[0].today.returned is None
    assert "<td>facebook</td><td>0</td><td>&ndash;</td>" in money_section(found, fit.account())
    assert money_lines(found, fit.account())[0].startswith("facebook: last 28 days 0 a day; best steady plan ")


def test_where_nothing_was_spent_lately_no_gain_is_told(fit: Fit) -> None:
    spends = fit.history.spends.copy()
    spends[-LAST_DAYS:] = 0.0
    idle = replace(fit, history=replace(fit.history, spends=spends))
    found = find_next_money(fit.account(), idle)
    assert found.gain is None
    said = "n the last 28 days nothing was spent, and the best steady plan spends nothing, either"
    assert money_lines(found, fit.account()) == [
        "facebook: last 28 days 0 a day; best steady plan 0 a day",
        "search: last 28 days 0 a day; best steady plan 0 a day",
        f"i{said}",
    ]
    page = money_section(found, fit.account())
    assert f"<p>I{said}.</p>" in page
    assert "<th>spend a day, last 28 days (EUR)</th>" in page
    account = replace(fit.account(), target_marginal=0.5)
    gain = find_next_money(account, idle).gain
    assert gain is not None
    assert gain.value > 0, "a target asks for more than nothing"


def test_a_spend_that_no_day_had_is_marked(fit: Fit) -> None:
    small = tuple(replace(curve, observed=(1.0, 10.0)) for curve in fit.curves)
    for told, is_marked in ((fit, False), (replace(fit, curves=small), True)):
        found = find_next_money(fit.account(), told)
        page, lines = money_section(found, fit.account()), money_lines(found, fit.account())
        note = "* marks a spend that no day of the history had: there the curve is an extrapolation"
        assert (f"{note}." in page) is is_marked
        assert lines.count(note) == any(re.search(r"\d\* a day", line) for line in lines) == is_marked
        assert bool(re.search(r"<td>[\d,]+\*</td>", page)) is is_marked


def without_history(account: Account) -> NextMoney:
    return find_next_money(account, None)


def test_without_a_history_the_plan_is_for_a_middling_budget_and_draws_make_the_interval() -> None:
    account = account_of(CONCAVE)
    found = without_history(account)
    assert sum(channel.planned.money for channel in found.channels) == pytest.approx(sum(account.daily_budget) / 2)
    assert all(channel.today is None and channel.verdict is None for channel in found.channels)
    assert all(each.planned.returned and each.planned.returned.interval is None for each in found.channels)
    draws = tuple(tuple(replace(each, sales_max=k * each.sales_max) for each in CONCAVE) for k in (0.5, 1.0, 2.0))
    for channel in without_history(replace(account, ensemble=draws)).channels:
        returned = channel.planned.returned
        assert returned is not None
        assert returned.interval == pytest.approx((0.55 * returned.value, 1.9 * returned.value))


def test_lines_name_the_channels_that_only_an_experiment_can_tell(fit: Fit) -> None:
    unsure = replace(fit, curves=(replace(fit.curves[0], at_mean=(1.0, 2.0, 3.0)), fit.curves[1]))
    found = find_next_money(fit.account(), unsure)
    assert money_lines(found, fit.account())[-1].endswith("; not to be trusted before an experiment: facebook")
    assert "<td>NOT identified</td>" in money_section(found, fit.account())


def test_the_page_shows_what_the_next_money_returns(fit: Fit, tmp_path: Path) -> None:
    account = fit.account(horizon_days=3)
    report = measure_regret(ReferencePlan(account), account, 2, fit, lambda _: None)
    write_allocation_report(tmp_path, "shop", report, fit)
    page = html.unescape((tmp_path / "allocation.html").read_text(encoding="utf-8"))
    assert "<h2>What the next EUR returns</h2>" in page
    row = re.search(r"<tr><td>facebook</td>(.*?)</tr>", page)
    assert row is not None
    number, interval = r"[\d.,]+", r"[\d.]+ \([\d.]+ to [\d.]+\)"
    cells = [number, interval, rf"{number} \([+-]{number}\)", interval, "given no confounding"]
    assert re.fullmatch("".join(f"<td>{cell}</td>" for cell in cells), row[1])
    assert money_lines(report.next_money, account)[-1].removeprefix("with") in page


def without_last_days(fit: Fit) -> Fit:
    return with_earlier(fit, (), np.random.default_rng(2), lambda _: None, members=5)


def test_what_was_known_before_the_last_days_owes_nothing_to_them(fit: Fit) -> None:
    sales, spends = fit.history.sales.copy(), fit.history.spends.copy()
    sales[-LAST_DAYS:] *= 3
    spends[-LAST_DAYS:] = 5 * spends[-LAST_DAYS:, ::-1] + 100
    curves = tuple(replace(curve, is_steep=not curve.is_steep) for curve in fit.curves)
    other = replace(fit, history=replace(fit.history, sales=sales, spends=spends), curves=curves)
    first, second = (without_last_days(each).earlier_today for each in (fit, other))
    assert len(first) == 6
    for one, two in zip(first, second, strict=True):
        assert [each.sales_max for each in one] == pytest.approx([each.sales_max for each in two], rel=1e-6)


def test_the_fit_before_the_last_days_is_near_the_truth(fit: Fit) -> None:
    spends = fit.history.spends[-LAST_DAYS:].mean(axis=0)
    known = find_next_money(fit.account(), without_last_days(fit))
    for channel, true in zip(known.channels, difference(CONCAVE, spends), strict=True):
        assert channel.before is not None
        assert channel.before.value == pytest.approx(true, rel=0.25)


def test_it_is_said_what_the_last_days_changed(fit: Fit) -> None:
    account = fit.account()
    half = tuple(replace(each, sales_max=0.5 * each.sales_max) for each in (fit.channels_today[0],))
    before = (*half, fit.channels_today[1])
    same = replace(fit, earlier_today=(fit.channels_today,) * 3)
    changed = find_next_money(account, replace(fit, earlier_today=(before,) * 3))
    assert [channel.has_changed for channel in changed.channels] == [True, False]
    (line,) = [line for line in money_lines(changed, account) if "by fits without the last 28 days" in line]
    assert line.startswith("facebook: the next EUR at today's spend returns")
    last = money_lines(find_next_money(account, same), account)[-1]
    assert last.startswith("the next EUR at today's spend returns, on each channel, what lies in its interval by fits")
    assert "by fits without these 28 days</th>" in money_section(changed, account)
    assert "by fits without" not in money_section(find_next_money(account, fit), account)
