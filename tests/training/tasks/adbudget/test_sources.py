"""What is told beside a history or curves: checked before anything takes time."""

import io
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from polserve.training.environments.making import EnvironmentSpec
from polserve.training.errors import InvalidOption
from polserve.training.runs.identity import check_same_run, identity_of
from polserve.training.runs.presets import PRESETS
from polserve.training.runs.stages import Stages
from polserve.training.tasks.adbudget.accounts import CHANNELS, account_from
from polserve.training.tasks.adbudget.environment import ALLOCATION_ID
from polserve.training.tasks.adbudget.history.history import Truth, simulate_history, write_history
from polserve.training.tasks.adbudget.task import ADBUDGET
from polserve.training.tasks.task import TaskOptions


def configure(tmp_path: Path, given: dict[str, Any], said: io.StringIO) -> EnvironmentSpec:
    truth = Truth(channels=(CHANNELS["facebook"],), base_sales=1500.0)
    write_history(tmp_path / "history.csv", simulate_history(truth, 60, np.random.default_rng(0)))
    asked = TaskOptions(data=tmp_path / "history.csv", given=given)
    return ADBUDGET.configure(EnvironmentSpec(ALLOCATION_ID, {}), asked, Stages(Console(file=said, width=500)))[1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"currency": "euros"}, "currency: expected an ISO 4217 code such as EUR, got euros"),
        ({"currency": 3}, "currency: expected an ISO 4217 code such as EUR, got 3"),
        ({"horizon_days": 0}, "horizon_days: expected at least 1, got 0"),
        ({"ensemble": "yes"}, "ensemble: expected true or false, got yes"),
        ({"drift": -0.1}, "drift: expected a number of at least 0"),
    ],
)
def test_what_is_told_beside_a_history_is_checked_before_the_fit(
    tmp_path: Path, given: dict[str, Any], message: str
) -> None:
    said = io.StringIO()
    with pytest.raises(InvalidOption) as refusal:
        configure(tmp_path, given, said)
    assert message in str(refusal.value)
    assert said.getvalue() == ""


def test_a_currency_may_be_told_in_any_case(tmp_path: Path) -> None:
    environment = configure(tmp_path, {"currency": "eur", "ensemble": True}, io.StringIO())
    account = account_from(environment.kwargs["account"])
    assert account.currency == "EUR"
    assert account.ensemble


OF_EARLIER_VERSIONS = (
    '{"account": {"cap_factor": 2.0, "channels": [{"half_saturation": 600.0, "lag_days": 0, "name": "facebook", '
    '"retention": 0.55, "sales_max": 2400.0, "saturation": "hill", "slope": 0.9}], "currency": "USD", "daily_budget": '
    '[210.0, 1920.0], "drift": 0.0, "ensemble": [], "event_probability": 0.1, "horizon_days": 30, "sales_noise": 0.0, '
    '"target_marginal": 0.0, "weekday_demand": [0.95, 0.9, 0.95, 1.0, 1.1, 1.15, 0.95]}}'
)
"""Keyword arguments in a checkpoint and in a version's spec, from before accounts had a `return_unit`."""


def account_of_one_channel(given: dict[str, Any]) -> EnvironmentSpec:
    options = TaskOptions(given=given)
    return ADBUDGET.configure(EnvironmentSpec(ALLOCATION_ID, {}), options, Stages(Console(file=io.StringIO())))[1]


def test_an_account_is_the_same_as_it_was_in_runs_and_versions_of_earlier_versions() -> None:
    environment = account_of_one_channel({"n_channels": 1})
    assert environment.kwargs_json == OF_EARLIER_VERSIONS  # by which promote compares
    recipe = PRESETS["adbudget"]
    before = replace(recipe, environment=EnvironmentSpec(ALLOCATION_ID, json.loads(OF_EARLIER_VERSIONS)))
    check_same_run(identity_of(before, seed=0), identity_of(replace(recipe, environment=environment), seed=0))


def test_a_return_unit_is_part_of_what_is_recorded_of_an_account() -> None:
    account = {"channels": [asdict(CHANNELS["facebook"])], "daily_budget": [1, 2], "return_unit": "orders"}
    assert account_of_one_channel({"account": account}).kwargs["account"]["return_unit"] == "orders"
