"""The account as the learner meets it: actions relative to the reference plan, and rewards against its forecast."""

from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from polserve.training.environments.making import EnvironmentSpec, make_vec
from polserve.training.errors import UnsupportedEnvironment
from polserve.training.learning.collector import ChooseActions
from polserve.training.learning.scores import Score, SelectionGames
from polserve.training.tasks.adbudget.accounts import Account
from polserve.training.tasks.adbudget.allocator import SpendPlan, acting_share, reference_ceiling, reference_share
from polserve.training.tasks.adbudget.campaigns import Campaigns
from polserve.training.tasks.adbudget.contexts import DAYS_A_WEEK
from polserve.training.tasks.adbudget.curves.response import Floats
from polserve.training.tasks.adbudget.environment import ALLOCATION_ID, AllocationVec, Money
from polserve.training.tasks.adbudget.plans.optimum import solve_all
from polserve.training.tasks.adbudget.plans.rules import play_worth, regret


class RelativeVec(VectorEnv[Money, Money, NDArray[Any]]):
    """`AllocationVec` with actions in [-1, 1] as `SpendPlan` reads them.

    The reward is the day's sales and the change of a forecast of the sales to come, in hundredths of the sales that all
    channels can have in a day. Over an episode the forecasts cancel but for the first, so that the best policy is the
    same (potential-based shaping, Ng et al. 1999); what is left to learn is the gain over the forecast plan, which is
    a hundredth of the sales, and no longer their sum. The forecast at the end of a day does not know the next day's
    demand, the one at its beginning does: what an event adds is no action's merit. The forecast is linear in that
    demand, so that the difference has mean 0 and changes no value.
    """

    def __init__(self, accounts: AllocationVec) -> None:
        self._accounts = accounts
        self.num_envs = accounts.num_envs
        self.metadata = accounts.metadata
        n_channels = len(accounts.account.channels)
        self.single_observation_space = accounts.single_observation_space
        self.observation_space = accounts.observation_space
        self.single_action_space = Box(-1.0, 1.0, (n_channels,), np.float32)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._plan = SpendPlan(accounts.account)
        self._forecast = Forecast(accounts)
        self._observation = np.zeros(accounts.observation_space.shape or (), np.float32)
        self._potential = np.zeros(self.num_envs)

    @property
    def account(self) -> Account:
        """What contexts are drawn from."""
        return self._accounts.account

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Money, dict[str, Any]]:
        """Begin day 0 of new contexts, as the account does."""
        self._observation, info = self._accounts.reset(seed=seed, options=options)
        self._potential = self._forecast()
        return self._observation, info

    def step(self, actions: Money) -> tuple[Money, NDArray[Any], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Spend a day by actions (n, channels) in [-1, 1]."""
        with torch.no_grad():
            spends = self._plan(torch.from_numpy(self._observation), torch.from_numpy(actions)).numpy()
        self._observation, sales, terminated, truncated, info = self._accounts.step(spends)
        before, expected, self._potential = self._potential, self._forecast(is_demand_known=False), self._forecast()
        reward = (sales + expected - before) * self._forecast.scale
        return self._observation, reward, terminated, truncated, info

    def close(self, **kwargs: Any) -> None:
        """Close the accounts."""
        self._accounts.close(**kwargs)


def make_accounts(spec: EnvironmentSpec, n: int) -> RelativeVec:
    """`n` accounts of the environment to learn in.

    Raises:
        UnsupportedEnvironment: it is none of ours.
        TrainingError: as `make_vec`.
    """
    envs = make_vec(spec, n).unwrapped
    if not isinstance(envs, AllocationVec):
        envs.close()
        raise UnsupportedEnvironment(f"{spec.id}: expected an environment of budgets, such as {ALLOCATION_ID}")
    return RelativeVec(envs)


class RegretScore:
    """Scores a policy of relative actions by the share of the best sales, or of the best worth, in percent."""

    def __init__(self, account: Account, games: SelectionGames) -> None:
        """On contexts that are kept for selection; their optima are solved for here."""
        self._contexts = account.draw_many(np.random.default_rng(games.first_seed), games.episodes)
        self._days = sum(context.horizon_days for context in self._contexts)
        self._best = np.array([plan.worth for plan in solve_all(self._contexts)])
        self._plan = SpendPlan(account)

    def __call__(self, choose_actions: ChooseActions, best: Score | None = None) -> Score:  # noqa: ARG002
        """Score a policy on all contexts: 100 where nothing better is possible."""

        def rule(campaigns: Campaigns) -> Floats:
            observation = campaigns.observe()
            actions = torch.from_numpy(choose_actions(observation))
            return np.asarray(self._plan(torch.from_numpy(observation), actions), np.float64)

        earned = play_worth(rule, self._contexts)
        return Score(100 * float(1 - regret(earned, self._best).mean()), self._days)


class Forecast:
    """Sales still to come if what is left is spent in equal parts by the reference share, at expected demand."""

    def __init__(self, accounts: AllocationVec) -> None:
        self._campaigns = accounts.campaigns
        self._share = reference_share(accounts.account)
        self._ceiling = reference_ceiling(accounts.account)
        self.scale = 100 / sum(channel.sales_max for channel in accounts.account.channels)
        """Turns sales into hundredths of what all channels can sell in a day."""
        self._mean_event = accounts.account.mean_event
        self._week = np.array(accounts.account.weekday_demand)
        self._ahead = np.arange(accounts.account.horizon_days)

    def __call__(self, *, is_demand_known: bool = True) -> Floats:
        """Forecast of each campaign (n,); 0 where no day is left. Today's demand may be known, or expected."""
        campaigns = self._campaigns
        left = campaigns.horizon_days - campaigns.day
        is_left = self._ahead < left[:, None]
        spend = self._spend(left)
        adstock = self._adstock(spend)
        demand = self._week[(campaigns.weekday[:, None] + self._ahead) % DAYS_A_WEEK] * self._mean_event
        if is_demand_known:
            demand[:, 0] *= campaigns.today() / self._mean_event
        demand *= is_left
        sales = campaigns.response.sales(adstock.swapaxes(0, 1)).sum(axis=2).T
        asked = campaigns.target_marginal * (spend.sum(axis=2) * is_left).sum(axis=1)
        return np.asarray((demand * sales).sum(axis=1) - asked)

    def _spend(self, left: NDArray[np.int64]) -> Floats:
        """Spends (n, days ahead, channels) of what is left in equal parts, of which none acts after the horizon."""
        campaigns = self._campaigns
        lag = campaigns.response.lag_days
        even = (campaigns.remaining / np.maximum(left, 1))[:, None, None]
        share = acting_share(self._share, lag, left[:, None] - self._ahead) if lag.any() else self._share
        spend = np.minimum(np.minimum(even * share, campaigns.caps[:, None]), self._ceiling)
        return np.broadcast_to(spend, (len(left), len(self._ahead), len(self._share)))

    def _adstock(self, spend: Floats) -> Floats:
        """Adstock (n, days ahead, channels) that acts, by the days' spends (n, days ahead, channels)."""
        campaigns = self._campaigns
        retention, lag = campaigns.response.retention, campaigns.response.lag_days
        if not lag.any():  # each day spends the same
            kept = retention[:, None] ** (self._ahead[:, None] + 1.0)
            return np.asarray(kept * campaigns.adstock[:, None] + (1 - kept) * spend)
        days, carried = [], campaigns.acting_adstock
        for ahead in self._ahead:
            pending = np.take_along_axis(campaigns.spent, np.maximum(lag - 1 - ahead, 0)[..., None], axis=2)[..., 0]
            begun = np.take_along_axis(spend, np.maximum(ahead - lag, 0)[:, None], axis=1)[:, 0]
            carried = retention * carried + (1 - retention) * np.where(ahead < lag, pending, begun)
            days.append(carried)
        return np.stack(days, axis=1)
