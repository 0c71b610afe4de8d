"""The allocator's parts of the exported graph: from what a request carries to features, and from an action to spends.

An action says by how much to depart from the reference plan, which spends what is left in proportion to demand and
splits it by a fixed share: 0 is that plan itself, -1 spends nothing and 1 four times as much. The learner so begins at
a good rule, and the same action means the same whatever the budget.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polserve.protos.shared.names import BUDGET_COMPONENTS
from polserve.training.learning.agents.actor_critic import Features
from polserve.training.tasks.adbudget.accounts import Account
from polserve.training.tasks.adbudget.contexts import DAYS_A_WEEK, HISTORY_DAYS, Context
from polserve.training.tasks.adbudget.curves.response import Floats, Response
from polserve.training.tasks.adbudget.plans.optimum import solve

MOST_DEMAND = 100.0
"""To an ordinary day; what is above counts as this, so that no request overflows float32."""
LEAST_PART = 0.1
"""Part of the reference plan that is split by half saturations where the best plan leaves a channel out, or nearly."""
LEAST_SHARE = 1e-9
"""What is divided by where no channel acts within the horizon any more."""
SMALL = 0.02
"""Part of a half saturation that is added before a logarithm is taken."""


class Request:
    """The columns of observations (n, 6 + channels * history), each (n, 1), and the spends (n, channels, history)."""

    def __init__(self, observation: Tensor) -> None:
        self.day, self.horizon_days, self.total, self.remaining, self.demand, self.weekday = (
            observation[:, index : index + 1] for index in range(len(BUDGET_COMPONENTS))
        )
        recent = observation[:, len(BUDGET_COMPONENTS) :]
        self.spends: Tensor = recent.unflatten(1, (-1, HISTORY_DAYS))  # type: ignore[no-untyped-call]
        self.demand = self.demand.clamp(0.0, MOST_DEMAND)
        self.days_left = (self.horizon_days - self.day).clamp(min=1.0)


class _Known(torch.nn.Module):
    """What is known of an account: its channels and its weekdays."""

    def __init__(self, account: Account) -> None:
        super().__init__()
        response = Response(account.channels)
        week = torch.tensor(account.weekday_demand)
        self.longest = account.horizon_days
        self.cap_factor = account.cap_factor
        self.week: Tensor
        self.later: Tensor
        self.half_saturation: Tensor
        self.retention: Tensor
        self.share: Tensor
        self.register_buffer("week", week, persistent=False)
        self.register_buffer("later", _later_demand(week * account.mean_event, self.longest), persistent=False)
        self.register_buffer("half_saturation", _constant(response.half_saturation), persistent=False)
        self.register_buffer("retention", _constant(response.retention), persistent=False)
        self.register_buffer("share", _constant(reference_share(account)), persistent=False)
        self.ceiling: Tensor
        self.register_buffer("ceiling", _constant(reference_ceiling(account)), persistent=False)
        self.has_target = account.target_marginal > 0
        lag = torch.tensor(response.lag_days, dtype=torch.float32)
        self.has_lag = bool(response.lag_days.any())
        self.lag: Tensor
        self.register_buffer("lag", lag, persistent=False)

    def plan(self, request: Request, today: Tensor, pace: Tensor) -> Tensor:
        """Spends (n, channels) of the reference plan; a target holds them where more would return too little.

        What would act after the horizon, because of a lag, is given to the other channels.
        """
        share = self.share
        if self.has_lag:
            share = share * (request.days_left > self.lag)
            share = share / share.sum(dim=1, keepdim=True).clamp(min=LEAST_SHARE)
        planned = pace * share
        return torch.minimum(planned, self.ceiling * today) if self.has_target else planned

    def pace(self, request: Request) -> tuple[Tensor, Tensor, Tensor]:
        """Today's demand, the expected demand of the later days together, and today's part of what is left."""
        weekday = request.weekday.to(torch.int64).clamp(0, DAYS_A_WEEK - 1).squeeze(1)
        left = request.days_left.to(torch.int64).clamp(1, self.longest).squeeze(1)
        today = self.week[weekday][:, None] * request.demand
        later = self.later[weekday, left][:, None]
        return today, later, request.remaining * (today / (today + later).clamp(min=1e-6))


class AllocationFeatures(Features):
    """Observations of an account as features of order 1, free of the budget's scale where that carries no meaning."""

    def __init__(self, account: Account) -> None:
        channels = len(account.channels)
        super().__init__(7 + DAYS_A_WEEK + 4 * channels)
        self.account = _Known(account)
        weights = (1 - self.account.retention)[:, None] * self.account.retention[:, None] ** torch.arange(HISTORY_DAYS)
        self.weights: Tensor
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, observation: Tensor) -> Tensor:
        """Features (batch, n) of observations (batch, components)."""
        account = self.account
        request = Request(observation.to(torch.float32))
        today, later, pace = account.pace(request)
        left = request.days_left
        adstock = (request.spends * self.weights).sum(dim=2)
        even = request.remaining / left
        planned = account.plan(request, today, pace)
        acting = (left - account.lag).clamp(min=1.0)
        days = torch.arange(DAYS_A_WEEK, device=observation.device)
        return torch.cat(
            (
                left / account.longest,
                1 / left,
                torch.exp(-left / 4),
                today,
                torch.log((today * left + SMALL) / (today + later + SMALL)),
                torch.log(even / account.half_saturation.sum() + SMALL),
                (request.remaining * request.horizon_days / (request.total * left).clamp(min=1e-6)).clamp(max=4.0),
                (request.weekday == days).to(torch.float32),
                torch.log(adstock / account.half_saturation + SMALL),
                torch.log((adstock + SMALL * account.half_saturation) / (planned + SMALL * account.half_saturation)),
                torch.log(planned / account.half_saturation + SMALL),
                (1 - account.retention) / (1 - account.retention**acting).clamp(min=1e-6),
            ),
            dim=1,
        )


class SpendPlan(torch.nn.Module):
    """Actions in [-1, 1] as spends in money, within the caps.

    NOTE: together they may exceed what is left. Whoever carries them out scales them down, the environment in floats
    and the service in whole numbers; float32 here would lose cents either way.
    """

    def __init__(self, account: Account) -> None:
        super().__init__()
        self.account = _Known(account)

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        """Spends (n, channels) of observations (n, components) and actions (n, channels)."""
        request = Request(observation.to(torch.float32))
        today, _, pace = self.account.pace(request)
        cap = self.account.cap_factor * request.total / request.horizon_days.clamp(min=1.0)
        return torch.minimum(self.account.plan(request, today, pace) * (1 + action).square(), cap)


@cache  # a learner asks for it several times
def reference_share(account: Account) -> Floats:
    """Split (channels,) of the best plan for a middling budget, on the days whose spends act within the horizon."""
    low, high = account.daily_budget
    middling = _ordinary(account, (low + high) / 2)
    spends = solve(middling).spends.sum(axis=0) / _acting_days(middling)
    usual = np.array([channel.half_saturation for channel in account.channels])
    share = spends / spends.sum() if spends.sum() > 0 else usual / usual.sum()
    least = LEAST_PART * usual / usual.sum()
    # A channel that other budgets use must not be shut out: a spend is at most four times the reference plan's.
    if not middling.is_concave or account.target_marginal or (share < least).any():
        share = (1 - LEAST_PART) * share + least
    share = np.asarray(share)
    share.flags.writeable = False
    return share


@cache
def reference_ceiling(account: Account) -> Floats:
    """Spends (channels,) of a day of demand 1 beyond which money returns less than the target; infinite without one."""
    ceiling = np.full(len(account.channels), np.inf)
    if account.target_marginal:
        middling = _ordinary(account, account.daily_budget[1])
        ample = replace(middling, budget=sum(middling.caps) * middling.horizon_days)
        spends = solve(ample).spends.sum(axis=0) / middling.day_demand.sum() / _acting_days(middling)
        ceiling = np.maximum(spends, LEAST_PART * middling.response.half_saturation)
    ceiling.flags.writeable = False
    return ceiling


def _ordinary(account: Account, daily: float) -> Context:
    """Context of the account's own curves, without events, whose budget is `daily` a day."""
    known = replace(account, daily_budget=(daily, daily), event_probability=0.0, ensemble=(), drift=0.0)
    return known.draw(np.random.default_rng(0))


def _acting_days(context: Context) -> Floats:
    """Share of the days (channels,) whose spends act within the horizon, for each channel's lag; 1 without one."""
    days = context.horizon_days
    return np.asarray(np.maximum(days - context.response.lag_days, 1) / days)


def acting_share(share: Floats, lag_days: NDArray[np.int64], days_left: NDArray[np.int64]) -> Floats:
    """Split (n, days, channels) of which no spend acts after the horizon, for `days_left` (n, days) of it.

    `share` is (channels,), `lag_days` (n, channels).
    """
    acting = share * (days_left[:, :, None] > lag_days[:, None])
    return np.asarray(acting / np.maximum(acting.sum(axis=2, keepdims=True), LEAST_SHARE))


def _later_demand(week: Tensor, longest: int) -> Tensor:
    """Demand (weekday, days left) of all days after a first one, where `week` is each weekday's."""
    table = torch.zeros(DAYS_A_WEEK, longest + 1)
    for weekday in range(DAYS_A_WEEK):
        days = week[(weekday + torch.arange(1, longest)) % DAYS_A_WEEK]
        table[weekday, 2:] = torch.cumsum(days, dim=0)
    return table


def _constant(values: Floats) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)
