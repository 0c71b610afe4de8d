"""The environments: a budget spent step by step on channels that answer with sales.

`AdBudgetEnv` is the plain one for any sales function; `AllocationEnv` and `AllocationVec` are the daily account with
carry-over, weekdays, events and a budget drawn at random.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from polserve.training.errors import require
from polserve.training.tasks.adbudget.accounts import Account, account_from
from polserve.training.tasks.adbudget.campaigns import Campaigns, affordable, component_names
from polserve.training.tasks.adbudget.contexts import HISTORY_DAYS

Money: TypeAlias = NDArray[np.float32]
SalesFunction: TypeAlias = Callable[..., float]
ALLOCATION_ID = "polserve/AdBudgetDaily-v0"
PLAIN_ID = "polserve/AdBudget-v0"
FIRST_SPENDS = "spends"
"""The reset option that sets the spends of the day before."""


class AdBudgetEnv(gym.Env[Money, Money]):
    """A budget spent on channels until it is gone or the horizon is reached; the reward is what was sold.

    The state is the latest spends, one per channel, the action the next ones. What is left is never exceeded: an
    action that wants more is scaled down to it.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(  # noqa: PLR0913, PLR0917 - users know these parameters by these names
        self,
        sales_function: SalesFunction,
        obs_range: tuple[float, float] = (0.0, 1000.0),
        act_range: tuple[float, float] = (0.0, 1000.0),
        budget: float = 1000.0,
        horizon: int = 30,
        channels: Sequence[str] = ("facebook", "instagram"),
        render_mode: str | None = None,
    ) -> None:
        """`sales_function(*spends)` gives the sales of one step, in the order of `channels`; ranges are in money.

        Raises:
            InvalidOption: a range is empty or negative, or budget, horizon or channels are not positive.
        """
        for name, (low, high) in (("obs_range", obs_range), ("act_range", act_range)):
            require(0 <= low < high, name, "low and high with 0 <= low < high", (low, high))
        require(0 < budget < math.inf, "budget", "a positive, finite number", budget)
        require(horizon >= 1, "horizon", "at least 1", horizon)
        require(len(channels) >= 1, "channels", "at least one", channels)
        self.render_mode = render_mode
        self.channels = tuple(channels)
        shape = (len(self.channels),)
        self.observation_space = Box(*obs_range, shape, np.float32)
        self.action_space = Box(*act_range, shape, np.float32)
        self.metadata = {**self.metadata, "observation_components": [[name, "money"] for name in self.channels]}
        self._sales_function = sales_function
        self._budget = budget
        self._horizon = horizon
        self._remaining = budget
        self._step = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Money, dict[str, Any]]:
        """Begin with spends of the day before at random within the observation's range, or the option `spends`."""
        super().reset(seed=seed)
        space = self.observation_space
        assert isinstance(space, Box)  # noqa: S101 - for the type checker
        spends = (options or {}).get(FIRST_SPENDS, self.np_random.uniform(space.low, space.high))
        self._remaining, self._step = self._budget, 0
        return self._observed(spends), {"remaining": self._remaining}

    def step(self, action: Money) -> tuple[Money, float, bool, bool, dict[str, Any]]:
        """Spend.

        Raises:
            InvalidOption: the action is not finite, or has another shape.
        """
        wanted = np.asarray(action, np.float64)
        is_fine = wanted.shape == self.action_space.shape and bool(np.isfinite(wanted).all())
        require(is_fine, "action", f"{self.action_space.shape} finite numbers", action)
        space = self.action_space
        assert isinstance(space, Box)  # noqa: S101 - for the type checker
        spends = affordable(np.clip(wanted, space.low, space.high), np.asarray(self._remaining))
        self._remaining = max(0.0, self._remaining - float(spends.sum()))
        self._step += 1
        is_gone = self._remaining <= self._budget * 1e-9
        sales = float(self._sales_function(*spends.tolist()))
        info = {"remaining": self._remaining, "spends": spends}
        return self._observed(spends), sales, is_gone or self._step >= self._horizon, False, info

    def _observed(self, spends: Any) -> Money:
        space = self.observation_space
        assert isinstance(space, Box)  # noqa: S101 - for the type checker
        return np.clip(np.asarray(spends, np.float32), space.low, space.high)


def _spaces(account: Account) -> tuple[Box, Box]:
    """Spaces of one account: what is observed, and spends from 0 to the highest cap."""
    channels, days = len(account.channels), float(account.horizon_days)
    highest_day = account.daily_budget[1]
    widest = max(channel.half_saturation for channel in account.channels)  # past spends are drawn up to that
    most = highest_day * days
    high = [days, days, most, most, 10.0, 6.0, *([max(most, 10 * highest_day, 2 * widest)] * (channels * HISTORY_DAYS))]
    low = np.zeros(len(high), np.float32)
    cap = account.cap_factor * highest_day
    return Box(low, np.array(high, np.float32)), Box(0.0, cap, (channels,), np.float32)


class AllocationVec(VectorEnv[Money, Money, NDArray[Any]]):
    """n accounts stepped together; one that is over begins anew with the next step."""

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012 - likewise

    def __init__(
        self,
        num_envs: int = 1,
        account: Account | Mapping[str, Any] | None = None,
        n_channels: int = 2,
        scenario: Account | Mapping[str, Any] | None = None,
    ) -> None:
        """Contexts are drawn from `account`, by default that of the first `n_channels` known channels.

        Versions registered before it was called so name it `scenario`.
        """
        self.account = account_from(account or scenario, n_channels)
        self.num_envs = num_envs
        self.single_observation_space, self.single_action_space = _spaces(self.account)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.campaigns = Campaigns(self.account.channels, num_envs, self.account.horizon_days)
        self._is_over = np.zeros(num_envs, np.bool_)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Money, dict[str, Any]]:
        """Day 0 of new contexts, or of the option `contexts`."""
        super().reset(seed=seed if isinstance(seed, int) or seed is None else seed[0])
        contexts = (options or {}).get("contexts") or self.account.draw_many(self.np_random, self.num_envs)
        for index, context in enumerate(contexts):
            self.campaigns.begin(index, context)
        self._is_over[:] = False
        return self.campaigns.observe(), {}

    def step(self, actions: Money) -> tuple[Money, NDArray[Any], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Spend a day in each account; the reward is the sales, less what the account's target asks of the money."""
        before = self.campaigns.remaining
        sales = self.campaigns.spend(np.asarray(actions, np.float64))
        if sigma := self.account.sales_noise:
            sales = sales * self.np_random.lognormal(-(sigma**2) / 2, sigma, sales.shape)
        if target := self.account.target_marginal:
            sales = sales - target * (before - self.campaigns.remaining)
        for index in np.flatnonzero(self._is_over):
            self.campaigns.begin(int(index), self.account.draw(self.np_random))
        terminated = self.campaigns.is_over
        self._is_over = terminated
        return self.campaigns.observe(), sales, terminated, np.zeros_like(terminated), {}


class AllocationEnv(gym.Env[Money, Money]):
    """One account: every day, spends per channel for what the budget still allows; the reward is the day's sales.

    An episode ends with its horizon: what was spent goes on selling after the budget is gone.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(
        self,
        account: Account | Mapping[str, Any] | None = None,
        n_channels: int = 2,
        render_mode: str | None = None,
        scenario: Account | Mapping[str, Any] | None = None,
    ) -> None:
        """Take what `AllocationVec` takes, for one account."""
        self.render_mode = render_mode
        self._accounts = AllocationVec(1, account, n_channels, scenario)
        self.observation_space = self._accounts.single_observation_space
        self.action_space = self._accounts.single_action_space
        names = self._accounts.campaigns.response.names
        units = {"day": "days", "horizon_days": "days", "demand": "ordinary days", "weekday": "0 = Monday"}
        components = [[name, units.get(name, "money")] for name in component_names(names)]
        self.metadata = {
            **self.metadata,
            "observation_components": components,
            "action_components": [[name, "money"] for name in names],
        }

    @property
    def account(self) -> Account:
        """The account that contexts are drawn from."""
        return self._accounts.account

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Money, dict[str, Any]]:
        """Day 0 of a new context, or of the option `context`."""
        super().reset(seed=seed)
        context = (options or {}).get("context") or self.account.draw(self.np_random)
        observation, _ = self._accounts.reset(seed=seed, options={"contexts": [context]})
        return observation[0], {}

    def step(self, action: Money) -> tuple[Money, float, bool, bool, dict[str, Any]]:
        """Spend a day.

        Raises:
            InvalidOption: the action is not finite, or the episode is over.
        """
        require(not self._accounts.campaigns.is_over[0], "step", "a reset after the last day", "another step")
        observation, sales, terminated, _, _ = self._accounts.step(np.asarray(action)[None])
        return observation[0], float(sales[0]), bool(terminated[0]), False, {}
