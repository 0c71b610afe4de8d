"""Whole horizons of budgets, played day by day through Allocate against a running service."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polserve.protos.shared.names import MICROS
from polserve.serving.client import BudgetDay, PolicyClient
from polserve.training.tasks.adbudget.contexts import DAYS_A_WEEK, Context


def play_contexts(
    client: PolicyClient, policy: str, contexts: Sequence[Context], history_days: int
) -> list[NDArray[np.float64]]:
    """Spends (days, channels) in money that the policy answers for each context.

    Raises:
        AssertionError: an answer overspent, or does not add up.
    """
    return [_play(client, policy, context, history_days) for context in contexts]


def _play(client: PolicyClient, policy: str, context: Context, history_days: int) -> NDArray[np.float64]:
    total = remaining = int(context.budget * MICROS)
    spent = {
        name: [round(spend * MICROS) for spend in spends][:history_days]
        for name, spends in zip(context.names, context.past_spends, strict=True)
    }
    caps = {name: int(cap * MICROS) for name, cap in zip(context.names, context.caps, strict=True)}
    plan = np.zeros((context.horizon_days, len(context.names)))
    for day in range(context.horizon_days):
        today = BudgetDay(
            day=day,
            horizon_days=context.horizon_days,
            total_micros=total,
            remaining_micros=remaining,
            weekday=(context.first_weekday + day) % DAYS_A_WEEK,
            demand=context.demand[day],
            spent_micros=spent,
            cap_micros=caps,
        )
        split = client.allocate(policy, today)
        spends = [split.spend_micros[name] for name in context.names]
        if min(spends) < 0 or sum(spends) + split.unspent_micros != remaining or split.unspent_micros < 0:
            raise AssertionError(f"{spends} and {split.unspent_micros} left do not add up to {remaining}")
        remaining = split.unspent_micros
        spent = {
            name: [micros, *past][:history_days] for micros, (name, past) in zip(spends, spent.items(), strict=True)
        }
        plan[day] = np.array(spends) / MICROS
    return plan
