"""Curves that another tool fitted: read from JSON and CSV, brought to days and money, and refused where unclear."""

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from polserve.training.environments.making import EnvironmentSpec
from polserve.training.errors import InvalidOption
from polserve.training.runs.stages import Stages
from polserve.training.tasks.adbudget.accounts import Account, account_from
from polserve.training.tasks.adbudget.curves.elsewhere import FittedCurves, read_curves
from polserve.training.tasks.adbudget.curves.response import Response
from polserve.training.tasks.adbudget.environment import ALLOCATION_ID, AllocationEnv
from polserve.training.tasks.adbudget.task import ADBUDGET
from polserve.training.tasks.task import TaskOptions

TV = {
    "channel": "tv", "saturation": "hill", "half_saturation": 70.0, "slope": 2.2, "sales_max": 140.0, "retention": 0.5,
    "lag": 1,
}  # fmt: skip
SEARCH = {"channel": "search", "saturation": "logistic", "rate": 0.02, "sales_max": 70.0, "retention": 0.0}
COMMON = {"spend_unit": "EUR", "return_unit": "EUR", "period": "week", "spend_scale": 1000, "return_scale": 1000}


def written(tmp_path: Path, *curves: dict[str, Any], **common: Any) -> Path:
    path = tmp_path / "curves.json"
    path.write_text(json.dumps({**COMMON, **common, "curves": list(curves)}))
    return path


def read(tmp_path: Path, *curves: dict[str, Any], **common: Any) -> FittedCurves:
    return read_curves(written(tmp_path, *curves, **common))


def test_curves_of_weeks_and_thousands_become_those_of_days_and_money(tmp_path: Path) -> None:
    tv, search = read(tmp_path, TV, SEARCH).channels
    assert [tv.half_saturation, tv.sales_max, tv.lag_days] == pytest.approx([10_000, 20_000, 7])
    assert tv.retention**7 == pytest.approx(0.5)
    assert search.saturation == "logistic"
    assert search.half_saturation == pytest.approx(1000 * math.log(3) / 0.02 / 7)


def test_a_steady_spend_sells_what_the_other_tools_formula_says(tmp_path: Path) -> None:
    plain = {**TV, "adstock": "plain"}  # as Robyn: adstock = spend + retention * adstock
    (channel,) = read(tmp_path, plain, period="day", spend_scale=1, return_scale=1).channels
    spend = 40.0
    adstock = spend / (1 - 0.5)
    expected = 140.0 * adstock**2.2 / (adstock**2.2 + 70.0**2.2)
    assert Response([channel]).sales(np.array([spend]))[0] == pytest.approx(expected)


def test_a_csv_file_says_the_same_as_a_json_file(tmp_path: Path) -> None:
    rows = [{**COMMON, **TV}, {**COMMON, **SEARCH}]
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [";".join(names), *(";".join(str(row.get(name, "")) for name in names) for row in rows)]
    path = tmp_path / "curves.csv"
    path.write_text("\n".join(lines) + "\n")
    assert read_curves(path) == read(tmp_path, TV, SEARCH)


def test_an_error_names_the_file_once(tmp_path: Path) -> None:
    path = written(tmp_path, {name: value for name, value in TV.items() if name != "slope"})
    with pytest.raises(InvalidOption) as refusal:
        read_curves(path)
    assert str(refusal.value) == f"{path}, curve 1: slope: expected a number, with a decimal point, got none"


def test_a_document_in_another_encoding_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, TV)
    known = read_curves(path)
    path.write_bytes(path.read_text().encode("utf-16"))
    assert read_curves(path) == known


@pytest.mark.parametrize(
    ("change", "common", "warning"),
    [
        ({"sales_max": 0.4}, {}, "is implausibly little; 1 of the return is likely not 1 EUR, but what"),
        ({"sales_max": 0.4}, {"return_scale": 1}, "is implausibly little; check the return_scale"),
        (
            {"sales_max": 0.4},
            {"return_unit": "orders", "return_scale": 1, "return_value": 1},
            "is implausibly little; check the return_scale and the return_value",
        ),
        (
            {"sales_max": 0.4},
            {"return_unit": "orders", "return_value": 1},
            "check the return_value; or 1 of the return is likely not 1 of the return_unit, but what",
        ),
        (
            {},
            {"spend_scale": 1000},
            "little; check the spend_scale; or 1 of the return is likely not 1 EUR",
        ),
        ({"half_saturation": 0.4}, {}, "are implausibly little; 1 of the spend is likely not 1 EUR, but"),
        ({"half_saturation": 0.4}, {"spend_scale": 1}, "are implausibly little; check the spend_scale"),
        ({"sales_max": 9e6}, {}, "implausibly much; 1 of the spend is likely not 1 EUR"),
        ({"sales_max": 9e6}, {"spend_scale": 1}, "implausibly much; check the spend_scale"),
        ({"sales_max": 0.4}, {"return_scale": 1, "return_unit": "orders"}, None),
        ({}, {}, None),
    ],
)
def test_a_curve_in_a_unit_that_is_likely_another_is_warned_of(
    tmp_path: Path, change: dict[str, Any], common: dict[str, Any], warning: str | None
) -> None:
    path = tmp_path / "curves.json"
    units = {"spend_unit": "EUR", "return_unit": "EUR", "period": "week"}
    path.write_text(json.dumps({**units, **common, "curves": [{**TV, **change}, SEARCH]}))
    warnings = read_curves(path).warnings()
    if warning is None:
        assert warnings == []
    else:
        assert warnings[0].startswith("tv: ")
        assert warning in warnings[0]


def test_draws_become_an_ensemble_and_their_medians_the_curve(tmp_path: Path) -> None:
    draws = [{**TV, "draw": draw, "sales_max": 70.0 * draw} for draw in (1, 2, 3)]
    curves = read(tmp_path, *draws)
    assert [member[0].sales_max for member in curves.ensemble] == pytest.approx([10_000, 20_000, 30_000])
    assert curves.channels == curves.ensemble[1]
    own = read(tmp_path, TV, *draws)
    assert [own.channels[0].sales_max, len(own.ensemble)] == pytest.approx([20_000, 3])


def test_of_many_draws_some_at_even_distances_are_learned_over(tmp_path: Path) -> None:
    curves = read(tmp_path, *({**TV, "draw": draw, "sales_max": float(draw)} for draw in range(1, 201)))
    learned = [member[0].sales_max for member in curves.account().ensemble]
    assert len(learned) == 50
    assert np.diff(learned) == pytest.approx(4 * curves.ensemble[0][0].sales_max)


def test_returns_that_are_no_money_are_counted_in_their_own_unit_or_valued(tmp_path: Path) -> None:
    orders = read(tmp_path, TV, return_unit="orders", return_scale=1)
    assert (orders.return_unit, orders.is_money) == ("orders", False)
    assert (orders.account().currency, orders.account().sales_unit) == ("EUR", "orders")
    valued = read(tmp_path, TV, return_unit="orders", return_scale=1, return_value=25)
    assert (valued.return_unit, valued.is_money) == ("EUR", True)
    assert valued.account().sales_unit == "EUR"
    assert valued.channels[0].sales_max == pytest.approx(25 * orders.channels[0].sales_max)


@pytest.mark.parametrize("unit", ["top", "cup", "try", "All"])
def test_what_is_sold_is_no_currency_that_is_written_alike(tmp_path: Path, unit: str) -> None:
    curves = read(tmp_path, TV, return_unit=unit)
    assert (curves.return_unit, curves.is_money) == (unit, False)


def test_returns_in_another_currency_are_refused_and_in_that_of_the_spends_are_money(tmp_path: Path) -> None:
    assert all(read(tmp_path, TV, return_unit=unit).is_money for unit in ("EUR", "eur", "\N{EURO SIGN}"))
    for unit in ("TRY", "\N{TURKISH LIRA SIGN}"):
        with pytest.raises(InvalidOption, match="the EUR that one TRY is worth"):
            read(tmp_path, TV, return_unit=unit)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"saturation": "weibull"}, "curve 1: saturation: expected hill or michaelis-menten or logistic, got weibull"),
        ({"half_saturation": -5}, "curve 1: half_saturation: expected a number above 0, got -5"),
        (
            {"sales_max": 0},
            "curve 1: sales_max: expected a number above 0, got 0, which is no effect; leave the channel",
        ),
        ({"sales_max": 0, "draw": 1}, "or, where other draws found one, write a thousandth of theirs"),
        ({"sales_max": math.nan}, "curve 1: sales_max: expected a number, with a decimal point, got nan"),
        ({"slope": "steep"}, "curve 1: slope: expected a plain number of at most 10, got 'steep'"),
        ({"slope": "12.145"}, "curve 1: slope: expected a plain number of at most 10, got 12.145"),
        ({"slope": "12.5"}, "curve 1: slope: expected a plain number of at most 10, got 12.5"),
        ({"half_saturation": "90.000"}, "curve 1: half_saturation: '90.000' can be read in two ways, as 90 if a point"),
        ({"slope": True}, "curve 1: slope: expected a number"),
        ({"slope": 40}, "tv: slope: expected a number above 0, up to 10"),
        ({"slope": None}, "curve 1: slope: expected a number"),
        ({"retention": 1.2}, "curve 1: retention: expected from 0 to below 1, a week, got 1.2"),
        ({"lag": 4}, "curve 1: lag: expected whole weeks from 0 to 3, got 4"),
        ({"lag": 0.5}, "curve 1: lag: expected whole weeks"),
        ({"channel": ""}, "curve 1: channel: expected text"),
        ({"channel": "search"}, "curve 2: channel: expected each channel once in each draw, got search"),
        ({"channel": "SEARCH"}, "curve 2: channel: expected 'SEARCH' as before, or a name that differs from it in"),
        ({"draw": -1}, "curve 1: draw: expected 0 or none"),
        ({"draw": 1}, "draw 1: expected a curve for each of tv, search, got none for search"),
        ({"kappa": 3}, "'kappa'; use one of these, such as half_saturation"),
        ({"spend_unit": "USD"}, "spend_unit: expected one for all curves, got EUR, USD"),
        ({"adstock": "weibull"}, "curve 1: adstock: expected normalised or plain"),
        ({"period": "month"}, "curve 1: period: expected day or week, got month"),
        ({"return_value": 3}, "return_value: expected one for every curve, or none, got one for some"),
        ({"channel": "  "}, "curve 1: channel: expected text"),
        ({"rate": 1}, "curve 1: rate: expected none for hill, which has a half_saturation; got one"),
    ],
)
def test_a_curve_that_is_unclear_is_refused_by_its_row_and_field(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidOption) as refusal:
        read(tmp_path, {**TV, **change}, SEARCH)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("common", "message"),
    [
        ({"spend_unit": "euros"}, "spend_unit: expected a currency's ISO 4217 code, such as EUR, got euros"),
        ({"return_unit": ""}, "return_unit: expected what is returned"),
        ({"return_unit": "USD"}, "return_unit: expected EUR, as the spends, or a return_value"),
        ({"channels": ["tv", "search", "radio"]}, "channels: expected the curves' tv, search, got"),
        ({"channels": "tv"}, "channels: expected a list of names"),
        ({"spend_scale": -1000}, "spend_scale: expected a number above 0"),
        ({"moon": 1}, "'moon'"),
    ],
)
def test_a_file_whose_units_or_channels_are_unclear_is_refused(
    tmp_path: Path, common: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidOption) as refusal:
        read(tmp_path, TV, SEARCH, **common)
    assert message in str(refusal.value)


def configured(tmp_path: Path, given: dict[str, Any], *curves: dict[str, Any], **options: Any) -> tuple[Account, str]:
    said = io.StringIO()
    asked = TaskOptions(curves=written(tmp_path, *curves), given=given, **options)
    _, environment = ADBUDGET.configure(
        EnvironmentSpec(ALLOCATION_ID, {}), asked, Stages(Console(file=said, width=500))
    )
    return account_from(environment.kwargs["account"]), said.getvalue()


def test_a_task_is_made_of_curves_and_of_what_they_do_not_tell(tmp_path: Path) -> None:
    given = {"horizon_days": 14, "daily_budget": [5000, 20_000], "weekday_demand": [1] * 5 + [1.2, 0.8]}
    account, said = configured(tmp_path, given, TV, SEARCH)
    assert (account.currency, account.horizon_days, account.daily_budget) == ("EUR", 14, (5000.0, 20_000.0))
    assert account.weekday_demand[5] == 1.2
    assert "tv: S-shaped, steepest at" in said
    assert "from 7 days after the spend" in said
    assert "warning" not in said
    assert "warning: tv: " in configured(tmp_path, given, {**TV, "sales_max": 0.001}, SEARCH)[1]
    env = AllocationEnv(account)
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    assert np.isfinite(env.step(np.array([6000.0, 2000.0], np.float32))[1])


def test_draws_are_learned_over_unless_one_says_not_to(tmp_path: Path) -> None:
    draws = [{**TV, "draw": draw, "sales_max": 70.0 * draw} for draw in (1, 2, 3)]
    account, _ = configured(tmp_path, {"drift": 0.02, "sales_noise": 0.1}, *draws)
    assert (len(account.ensemble), account.drift) == (3, 0.02)
    contexts = account.draw_many(np.random.default_rng(0), 20)
    assert {context.channels for context in contexts} == set(account.ensemble)
    assert all(len(context.drift) == account.horizon_days for context in contexts)
    assert configured(tmp_path, {"ensemble": False}, *draws)[0].ensemble == ()


def test_a_return_on_spend_needs_returns_in_money(tmp_path: Path) -> None:
    path = written(tmp_path, TV, return_unit="orders")
    asked = TaskOptions(curves=path, target_roas=2.0)
    with pytest.raises(InvalidOption, match="target_roas: expected returns in money, got orders; give the curves"):
        ADBUDGET.configure(EnvironmentSpec(ALLOCATION_ID, {}), asked, Stages(Console(file=io.StringIO())))


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ({"channels": []}, {}, "with --curves, --env-kwargs takes horizon_days"),
        ({"ensemble": True}, {}, "ensemble: expected curves with draws, got none"),
        ({"ensemble": 3}, {}, "ensemble: expected true or false"),
        ({"daily_budget": [0, 1]}, {}, "daily_budget: expected two numbers"),
        (
            {"daily_budget": 500},
            {},
            "daily_budget: expected two numbers, the least and the greatest, such as [500, 2000]",
        ),
        ({}, {"data": Path("history.csv")}, "data, curves: expected one of the two"),
        ({}, {"target_roas": 1.0, "target_marginal": 1.0}, "target_roas, target_marginal: expected one of the two"),
    ],
)
def test_what_does_not_go_with_curves_is_refused(
    tmp_path: Path, given: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidOption) as refusal:
        configured(tmp_path, given, TV, **options)
    assert message in str(refusal.value)
