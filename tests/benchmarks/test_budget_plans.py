"""Plans of budgets, as the benchmark values them."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.adbudget import plan_regrets
from polserve.training.tasks.adbudget.accounts import default_account
from polserve.training.tasks.adbudget.plans.optimum import solve


def test_a_plan_that_spends_more_than_its_target_allows_misses_something() -> None:
    drawn = default_account(2, horizon_days=6).draw(np.random.default_rng(0))
    context = replace(drawn, target_marginal=2.0)
    best, greedy = solve(context), solve(drawn)
    regrets = plan_regrets([best.spends, greedy.spends], [context] * 2, np.full(2, best.worth))
    assert regrets[0] == pytest.approx(0, abs=1e-9)
    assert regrets[1] > 0.1
