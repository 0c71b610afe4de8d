"""What a policy misses of the best plan on held-out contexts, beside the optimum, a solver, rules, and chance."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from torch import nn

from polserve.training.environments.making import EVALUATION_FIRST_SEED
from polserve.training.evaluation.statistics import summarise
from polserve.training.tasks.adbudget.accounts import Account
from polserve.training.tasks.adbudget.campaigns import Campaigns
from polserve.training.tasks.adbudget.contexts import Context
from polserve.training.tasks.adbudget.curves.fit import Fit
from polserve.training.tasks.adbudget.curves.response import Floats
from polserve.training.tasks.adbudget.plans.marginal import MarginalRule
from polserve.training.tasks.adbudget.plans.optimum import Plan, solve_all
from polserve.training.tasks.adbudget.plans.rules import (
    Resolve,
    Rule,
    at_random,
    best_share,
    caps_until_gone,
    even,
    fixed_share,
    play_rule,
    proportional,
    regret,
    worth,
)
from polserve.training.tasks.adbudget.report.next_money import NextMoney, find_next_money

WORLD_CONTEXTS = 20
"""Contexts that are played in each of the worlds that a history allows."""
POLICY = "this policy"
RESOLVED = "solved anew every day"
MARGINAL = "equal marginal returns, with carry-over and horizon"
MARGINAL_BY_DAY = "equal marginal returns, by each day's own demand"
HINDSIGHT = "in hindsight"

SEARCH_PARTS, FIRST_DAY_PARTS = 15, 8
"""Time of a search for the best plans of S-shaped curves, and of one with coarser cells, to that of a later day's."""

Advance: TypeAlias = Callable[[int], None]
"""Called with the number of parts that are done, of `parts_of` in all."""


@dataclass(frozen=True, slots=True)
class Line:
    """How an allocator did on the held-out contexts."""

    name: str
    contexts: int
    mean_regret: float
    p95_regret: float
    missed_sales: float
    """Mean of a horizon, in the unit of the sales."""
    budget_spent: float
    """Share of the budgets."""
    violations: int
    """Plans that break a budget or a cap."""
    return_on_spend: float
    """Sales beyond those that come without any spend, to the spends; 0 where nothing was spent."""


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much more of the best sales the policy misses than another allocator, on the same contexts."""

    other: str
    mean: float
    low: float
    """Lower end of the 95 % interval, by a bootstrap of the contexts."""
    high: float

    @property
    def direction(self) -> str:
        """The comparison, in words, that the interval supports."""
        if self.high < 0:
            return "less than"
        return "more than" if self.low > 0 else "neither clearly more nor clearly less than"


@dataclass(frozen=True, slots=True)
class RegretReport:
    """What a policy misses of the best plans, beside the optimum and other allocators."""

    account: Account
    policy: Line
    optimum: Line
    resolved: Line
    """Solving anew every day."""
    rules: tuple[Line, ...]
    """Simple rules, and chance."""
    other_worlds: Line | None
    """The policy, where the truth is another curve that the history allows; None without a history."""
    to_best_rule: Difference
    """The policy's difference to the best of the rules that know the account."""
    to_resolved: Difference
    """The policy's difference to solving anew every day."""
    example: Context
    best: Floats  # (days, channels), of the example
    own: Floats  # (days, channels), the policy's
    largest_gap: float
    """Relative, of the optima: no plan sells more than they do by more than this."""
    next_money: NextMoney
    """What the next unit of money returns on each channel, today and in the best steady plan."""

    @property
    def lines(self) -> tuple[Line, ...]:
        """All allocators, in the order in which tables show them."""
        elsewhere = () if self.other_worlds is None else (self.other_worlds,)
        return (self.policy, self.optimum, self.resolved, *self.rules, *elsewhere)


def rule_of(policy: nn.Module) -> Rule:
    """Rule that does on each day what an exported module does."""

    @torch.no_grad()
    def rule(campaigns: Campaigns) -> Floats:
        return np.asarray(policy(torch.from_numpy(campaigns.observe())).numpy(), np.float64)

    return rule


def parts_of(account: Account, fit: Fit | None) -> int:
    """Parts that `measure_regret` counts; each takes about as long."""
    searches = _search_parts(account, SEARCH_PARTS) + _search_parts(account, FIRST_DAY_PARTS)
    return searches + 3 + account.horizon_days - 1 + (len(fit.ensemble) if fit else 0)


def _search_parts(account: Account, parts: int) -> int:
    return 1 if account.is_concave else parts


def measure_regret(
    policy: nn.Module, account: Account, n_contexts: int, fit: Fit | None, advance: Advance
) -> RegretReport:
    """Play the policy on held-out contexts, beside the certified optimum, re-solving every day, rules, and chance."""
    rng = np.random.default_rng(EVALUATION_FIRST_SEED)
    contexts = account.draw_many(rng, n_contexts)
    plans = solve_all(contexts)
    best = np.array([plan.worth for plan in plans])
    advance(_search_parts(account, SEARCH_PARTS))
    knowing = _simple_rules(account, contexts, best, advance)
    rules = {**knowing, "equal split, even pace": even, "at random": at_random(rng)}
    rules["the caps until the money is gone"] = caps_until_gone
    resolve = Resolve(contexts, account.channels if account.ensemble else None, account.mean_event)
    allocators = {POLICY: rule_of(policy), RESOLVED: _advancing(resolve, account, advance), **rules}
    played = {name: play_rule(rule, contexts) for name, rule in allocators.items()}
    advance(1)
    lines = {name: _line(name, *what, contexts, best) for name, what in played.items()}
    regrets = {name: regret(worth(*what, contexts), best) for name, what in played.items()}
    best_rule = min(knowing, key=lambda name: float(regrets[name].mean()))
    return RegretReport(
        account=account,
        policy=lines[POLICY],
        optimum=_optimum(contexts, plans),
        resolved=lines[RESOLVED],
        rules=tuple(lines[name] for name in rules),
        other_worlds=_in_other_worlds(policy, contexts[:WORLD_CONTEXTS], fit, advance) if fit is not None else None,
        to_best_rule=_difference(regrets[POLICY], regrets[best_rule], best_rule),
        to_resolved=_difference(regrets[POLICY], regrets[RESOLVED], RESOLVED),
        example=contexts[0],
        best=plans[0].spends,
        own=played[POLICY][0][0],
        largest_gap=max(plan.relative_gap for plan in plans),
        next_money=find_next_money(account, fit),
    )


def _simple_rules(account: Account, contexts: Sequence[Context], best: Floats, advance: Advance) -> dict[str, Rule]:
    """Rules that know the account: by its curves, and of one fixed share, tuned on the very contexts."""

    def by_demand(share: Floats) -> Rule:
        return proportional(share, account.weekday_demand, account.mean_event)

    share = best_share(contexts, best, by_demand)
    advance(1)
    by_day = fixed_share(best_share(contexts, best, fixed_share))
    advance(1)
    return {
        MARGINAL: MarginalRule(account),
        MARGINAL_BY_DAY: MarginalRule(account, weighs_carry_over=False),
        f"best fixed share, demand-proportional pace, {HINDSIGHT}": by_demand(share),
        f"best fixed share, even pace, {HINDSIGHT}": by_day,
    }


def _advancing(rule: Rule, account: Account, advance: Advance) -> Rule:
    def told(campaigns: Campaigns) -> Floats:
        spends = rule(campaigns)
        advance(1 if campaigns.day.any() else _search_parts(account, FIRST_DAY_PARTS))
        return spends

    return told


def _line(name: str, spends: Floats, sales: Floats, contexts: Sequence[Context], best: Floats) -> Line:
    earned = worth(spends, sales, contexts)
    missed = regret(earned, best)
    budgets, caps = np.array([c.budget for c in contexts]), np.array([c.caps for c in contexts])
    total = spends.sum(axis=(1, 2))
    is_broken = (total > budgets * (1 + 1e-9)) | (spends > caps[:, None] * (1 + 1e-9)).any(axis=(1, 2))
    return Line(
        name,
        contexts=len(contexts),
        mean_regret=float(missed.mean()),
        p95_regret=float(np.quantile(missed, 0.95)),
        missed_sales=float((best - earned).mean()),
        budget_spent=float((total / budgets).mean()),
        violations=int(is_broken.sum()),
        return_on_spend=_return_on_spend(total, sales, contexts),
    )


def _return_on_spend(total: Floats, sales: Floats, contexts: Sequence[Context]) -> float:
    """Return on ad spend of the contexts together, of which `total` (n,) was spent and `sales` (n,) were made."""
    _, idle = play_rule(lambda campaigns: np.zeros_like(campaigns.caps), contexts)
    return float((sales - idle).sum() / total.sum()) if total.sum() > 0 else 0.0


def _optimum(contexts: Sequence[Context], plans: Sequence[Plan]) -> Line:
    total = np.array([plan.spends.sum() for plan in plans])
    spent = float(np.mean(total / np.array([context.budget for context in contexts])))
    returned = _return_on_spend(total, np.array([plan.sales for plan in plans]), contexts)
    name = "the optimum, which knows every day's demand beforehand"
    return Line(name, len(contexts), 0.0, 0.0, 0.0, spent, 0, returned)


def _in_other_worlds(policy: nn.Module, contexts: Sequence[Context], fit: Fit, advance: Advance) -> Line:
    """Play the policy where the truth is another curve that the history allows as well."""
    worlds, spends, sales = [], [], []
    for channels in fit.ensemble_today:
        alike = [replace(context, channels=channels) for context in contexts]
        spent, sold = play_rule(rule_of(policy), alike)
        worlds += alike
        spends.append(spent)
        sales.append(sold)
        advance(1)
    best = np.array([plan.worth for plan in solve_all(worlds)])
    name = f"{POLICY}, if the truth is another curve that the history allows"
    return _line(name, np.concatenate(spends), np.concatenate(sales), worlds, best)


def _difference(policy: Floats, other: Floats, name: str) -> Difference:
    of_contexts = summarise(policy - other)
    return Difference(name, of_contexts.mean, of_contexts.interval_low, of_contexts.interval_high)
