"""What is told beside a history or curves: checked before anything takes time."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from polserve.training.environments.making import EnvironmentSpec
from polserve.training.errors import InvalidOption
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
