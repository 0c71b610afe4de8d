"""Allocators that anyone can write in a few lines, to measure others by; and re-solving every day."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from typing import TypeAlias

import numpy as np

from polserve.training.tasks.adbudget.accounts import EVENT_PROBABILITY, mean_event
from polserve.training.tasks.adbudget.campaigns import Campaigns
from polserve.training.tasks.adbudget.contexts import DAYS_A_WEEK, Context
from polserve.training.tasks.adbudget.curves.response import Channel, Floats
from polserve.training.tasks.adbudget.plans.global_search import improve, search
from polserve.training.tasks.adbudget.plans.interior import best_spends

Rule: TypeAlias = Callable[[Campaigns], Floats]
"""From campaigns to the spends (n, channels) of the present day; what is too much is scaled down by them."""

COARSE_CELLS = 250
"""Cells of the adstock where no bound is asked for."""
SUMS = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02)
"""What shares may add up to at first, where not all has to be spent."""
LEAST_SUM = 1e-9
"""Least sum that shares are divided by."""
MEAN_EVENT = mean_event(EVENT_PROBABILITY)
"""Expected demand of a day to come, to an ordinary day of its weekday, for who knows no more of an account."""


def even(campaigns: Campaigns) -> Floats:
    """Spend what is left in equal parts over the days left and the channels."""
    channels = campaigns.caps.shape[1]
    return np.repeat((campaigns.remaining / _days_left(campaigns))[:, None] / channels, channels, axis=1)


def fixed_share(share: Floats) -> Rule:
    """Rule that spends what is left in equal parts over the days left, split by `share` (channels,)."""
    return lambda campaigns: np.asarray((campaigns.remaining / _days_left(campaigns))[:, None] * share)


def proportional(share: Floats, weekday_demand: Sequence[float], event: float = MEAN_EVENT) -> Rule:
    """Rule that spends in proportion to demand, today's as known and later days' as expected, split by `share`.

    `event` is the expected demand of a later day, as a multiple of an ordinary day of its weekday.
    """
    week = np.array(weekday_demand)

    def rule(campaigns: Campaigns) -> Floats:
        today = week[campaigns.weekday] * campaigns.today()
        later = np.zeros(len(today))
        for ahead in range(1, campaigns.max_horizon_days):
            is_left = campaigns.day + ahead < campaigns.horizon_days
            later += is_left * week[(campaigns.weekday + ahead) % DAYS_A_WEEK] * event
        return np.asarray((campaigns.remaining * today / (today + later))[:, None] * share)

    return rule


def caps_until_gone(campaigns: Campaigns) -> Floats:
    """Spend the most that may be spent, until nothing is left."""
    return campaigns.caps


def at_random(rng: np.random.Generator) -> Rule:
    """Spends drawn uniformly between 0 and twice the even ones."""
    return lambda campaigns: np.asarray(rng.uniform(0, 2, campaigns.caps.shape) * even(campaigns))


class Resolve:
    """Model predictive control: every day, the best plan for what is left, of which the first day is carried out."""

    def __init__(
        self, contexts: Sequence[Context], believed: Sequence[Channel] | None = None, event: float = MEAN_EVENT
    ) -> None:
        """Take the contexts of the campaigns, of whose demand only the present day's is looked at.

        It plans by the curves that are `believed`, by default each context's own. `event` is the demand that it expects
        of each later day, as a multiple of an ordinary day of its weekday.
        """
        self._contexts = contexts
        self._believed = believed
        self._event = event
        self._plans: dict[int, Floats] = {}  # of S-shaped curves, whose search goes on from yesterday's plan
        self._rng = np.random.default_rng(0)

    def __call__(self, campaigns: Campaigns) -> Floats:
        """First day (n, channels) of each best plan."""
        spends = np.zeros_like(campaigns.caps)
        going = np.flatnonzero(~campaigns.is_over & (campaigns.remaining > 0)).tolist()
        if going:
            contexts = [self._today(campaigns, index) for index in going]
            is_concave = all(context.is_concave for context in contexts)
            plans = best_spends(contexts) if is_concave else self._searched(going, contexts)
            spends[going] = [plan[0] for plan in plans]
        return spends

    def _searched(self, going: Sequence[int], contexts: Sequence[Context]) -> list[Floats]:
        """Plans of S-shaped curves: searched for on the first day, and improved on each later one."""
        if self._plans:
            plans = improve(contexts, [self._plans[index][1:] for index in going], self._rng)
        else:
            plans = [spends for spends, _ in search(contexts, COARSE_CELLS)]
        self._plans = dict(zip(going, plans, strict=True))
        return plans

    def _today(self, campaigns: Campaigns, index: int) -> Context:
        """Context of what is left, as far as it is known."""
        context, day = self._contexts[index], int(campaigns.day[index])
        channels, past = context.channels, _as_past(context.channels, campaigns, index)
        if self._believed is not None:  # what is carried over is not known, the spends are
            channels, past = tuple(self._believed), tuple(map(tuple, campaigns.spent[index].tolist()))
        return replace(
            context,
            channels=channels,
            budget=float(campaigns.remaining[index]),
            demand=(context.demand[day], *([self._event] * (context.horizon_days - day - 1))),
            first_weekday=int(campaigns.weekday[index]),
            past_spends=past,
            drift=(),
        )


def play_rule(rule: Rule, contexts: Sequence[Context]) -> tuple[Floats, Floats]:
    """Spends (n, days, channels) and sales (n,) of a rule over whole horizons."""
    campaigns = Campaigns.of(contexts)
    spends, sales = [], np.zeros(len(contexts))
    while not campaigns.is_over.all():
        sales += campaigns.spend(rule(campaigns))
        spends.append(campaigns.spent[:, :, 0].copy())
    return np.stack(spends, axis=1), sales


def worth(spends: Floats, sales: Floats, contexts: Sequence[Context]) -> Floats:
    """Sales (n,) less what each context's target asks of the money; `spends` are (n, days, channels)."""
    target = np.array([context.target_marginal for context in contexts])
    return np.asarray(sales - target * spends.sum(axis=(1, 2)))


def play_worth(rule: Rule, contexts: Sequence[Context]) -> Floats:
    """Worth (n,) of a rule over whole horizons."""
    return worth(*play_rule(rule, contexts), contexts)


def regret(sales: Floats, best: Floats) -> Floats:
    """Share of the best sales, or of the best worth, that was missed (n,); 0 where there are none to be made."""
    return np.asarray(1 - np.divide(sales, best, out=np.ones_like(best), where=best > 0))


def best_share(contexts: Sequence[Context], best: Floats, rule: Callable[[Floats], Rule]) -> Floats:
    """Find the fixed share (channels,) of least mean regret on these very contexts: tuned in hindsight.

    By coordinate search, from the share that each channel has in half saturations. Where there is a target, the shares
    may add up to less than 1, so that some of a budget is left: the search begins at the best of several sums, and
    changes all shares together, too.
    """
    is_all_spent = not any(context.target_marginal for context in contexts)
    even = contexts[0].response.half_saturation / contexts[0].response.half_saturation.sum()

    def mean_regret(candidate: Floats) -> float:
        return float(regret(play_worth(rule(candidate), contexts), best).mean())

    starts = [even * part for part in ((1.0,) if is_all_spent else SUMS)]
    least, first = min((mean_regret(start), index) for index, start in enumerate(starts))
    share = starts[first]
    changed = list(np.eye(len(share), dtype=np.bool_))
    if not is_all_spent:
        changed.append(np.ones(len(share), np.bool_))
    factors = [(factor, 1 / factor) for factor in (1.5, 1.2, 1.1, 1.05, 1.02)]
    for changes in (*factors, (0.0,), *factors):  # what is 0 stays 0, so that nothing is dropped too early
        is_better = True
        while is_better:
            is_better = False
            for which, change in product(changed, changes):
                candidate = np.where(which, share * change, share)
                candidate /= max(candidate.sum(), LEAST_SUM) if is_all_spent else max(candidate.sum(), 1.0)
                if (value := mean_regret(candidate)) < least - 1e-7:
                    share, least, is_better = candidate, value, True
    return np.asarray(share)


def _days_left(campaigns: Campaigns) -> Floats:
    return np.asarray(np.maximum(campaigns.horizon_days - campaigns.day, 1.0))


def _as_past(channels: Sequence[Channel], campaigns: Campaigns, index: int) -> tuple[tuple[float, ...], ...]:
    """Past spends that leave a campaign's adstock: those that do not act yet, and one for all that do."""
    acting = campaigns.acting_adstock[index] / (1 - campaigns.response.retention[index])
    return tuple(
        (*campaigns.spent[index, which, : channel.lag_days].tolist(), float(acting[which]))
        for which, channel in enumerate(channels)
    )
