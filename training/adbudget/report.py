"""The page that a run leaves for people: the curves, the plans, and what the policy misses of the best one."""

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from training.adbudget.campaigns import Campaigns
from training.adbudget.context import Context, Scenario
from training.adbudget.fit import Fit
from training.adbudget.optimum import Plan, solve
from training.adbudget.response import Floats, Response
from training.adbudget.rules import (
    Resolve,
    Rule,
    at_random,
    best_share,
    caps_until_gone,
    even,
    fixed_share,
    play,
    proportional,
    regret,
)
from training.envs import EVALUATION_FIRST_SEED

RESOLVED = 40
"""One in so many contexts is solved anew every day, which takes as long as thirty optima."""
MEMBERS = 5
"""Of a fit's ensemble, in whose worlds the policy is tried too."""


@dataclass(frozen=True, slots=True)
class Line:
    """How an allocator did on the held-out contexts."""

    name: str
    contexts: int
    mean_regret: float
    p95_regret: float
    budget_spent: float
    """Share of the budgets."""
    violations: int
    """Plans that break a budget or a cap."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A policy beside the optimum and others."""

    scenario: Scenario
    lines: tuple[Line, ...]
    example: Context
    best: Floats  # (days, channels), of the example
    own: Floats  # (days, channels), the policy's
    largest_gap: float
    """Relative, of the optima: no plan sells more than they do by more than this."""

    @property
    def policy(self) -> Line:
        """The policy's line."""
        return self.lines[0]


def rule_of(policy: nn.Module) -> Rule:
    """What an exported module does on each day."""

    @torch.no_grad()
    def rule(campaigns: Campaigns) -> Floats:
        return np.asarray(policy(torch.from_numpy(campaigns.observe())).numpy(), np.float64)

    return rule


def compare(policy: nn.Module, scenario: Scenario, n_contexts: int, fit: Fit | None) -> Comparison:
    """The policy on held-out contexts, beside the certified optimum, re-solving every day, rules, and chance."""
    rng = np.random.default_rng(EVALUATION_FIRST_SEED)
    contexts = scenario.draw_many(rng, n_contexts)
    plans = [solve(context) for context in contexts]
    best = np.array([plan.sales for plan in plans])
    week = scenario.weekday_demand
    share = best_share(contexts, best, lambda share: proportional(share, week))
    rules: Mapping[str, Rule] = {
        "this policy": rule_of(policy),
        "best fixed share, demand-proportional pace, in hindsight": proportional(share, week),
        "best fixed share, even pace, in hindsight": fixed_share(best_share(contexts, best, fixed_share)),
        "equal split, even pace": even,
        "at random": at_random(rng),
        "the caps until the money is gone": caps_until_gone,
    }
    lines = [_line(name, rule, contexts, best) for name, rule in rules.items()]
    few = contexts[: max(1, n_contexts // RESOLVED)]
    lines.insert(1, _line("solved anew every day", Resolve(few), few, best[: len(few)]))
    lines.insert(1, _line("this policy, on the contexts of the next line", rule_of(policy), few, best[: len(few)]))
    lines.insert(1, _optimum(contexts, plans))
    if fit is not None:
        lines.append(_in_other_worlds(policy, contexts, fit))
    own, _ = play(rule_of(policy), contexts[:1])
    gap = max(plan.relative_gap for plan in plans)
    return Comparison(scenario, tuple(lines), contexts[0], plans[0].spends, own[0], gap)


def write_allocation_report(folder: Path, name: str, comparison: Comparison, fit: Fit | None) -> None:
    """`folder` holds allocation.html, a page that needs nothing else, allocation.png and allocation.json."""
    folder.mkdir(parents=True, exist_ok=True)
    mpl.use("agg")
    curves = _curves(comparison.scenario, fit)
    plan = _plans(comparison)
    plan.savefig(folder / "allocation.png", dpi=120)
    lines = [{field: getattr(line, field) for field in Line.__slots__} for line in comparison.lines]
    (folder / "allocation.json").write_text(
        json.dumps({"lines": lines, "largest_gap": comparison.largest_gap}, indent=2)
    )
    (folder / "allocation.html").write_text(_page(name, comparison, fit, (_png(curves), _png(plan))))


def _line(name: str, rule: Rule, contexts: Sequence[Context], best: Floats) -> Line:
    spends, sales = play(rule, contexts)
    missed = regret(sales, best)
    budgets, caps = np.array([c.budget for c in contexts]), np.array([c.caps for c in contexts])
    total = spends.sum(axis=(1, 2))
    is_broken = (total > budgets * (1 + 1e-9)) | (spends > caps[:, None] * (1 + 1e-9)).any(axis=(1, 2))
    spent = float((total / budgets).mean())
    return Line(
        name, len(contexts), float(missed.mean()), float(np.quantile(missed, 0.95)), spent, int(is_broken.sum())
    )


def _optimum(contexts: Sequence[Context], plans: Sequence[Plan]) -> Line:
    spent = float(np.mean([plan.spends.sum() / c.budget for plan, c in zip(plans, contexts, strict=True)]))
    return Line("the optimum, which knows every day's demand beforehand", len(contexts), 0.0, 0.0, spent, 0)


def _in_other_worlds(policy: nn.Module, contexts: Sequence[Context], fit: Fit) -> Line:
    """The policy where the truth is another curve that the history allows as well."""
    few = contexts[: max(1, len(contexts) // RESOLVED)]
    worlds = [replace(context, channels=channels) for channels in fit.ensemble[:MEMBERS] for context in few]
    missed, spent = [], []
    for world in worlds:
        spends, sales = play(rule_of(policy), [world])
        missed.append(float(regret(sales, np.array([solve(world).sales]))[0]))
        spent.append(float(spends.sum() / world.budget))
    name = "this policy, if the truth is another curve that the history allows"
    return Line(name, len(worlds), float(np.mean(missed)), float(np.quantile(missed, 0.95)), float(np.mean(spent)), 0)


def _curves(scenario: Scenario, fit: Fit | None) -> Figure:
    n = len(scenario.channels)
    figure = Figure(figsize=(4 * min(n, 4), 3.2 * -(-n // 4)), layout="constrained")
    axes = figure.subplots(-(-n // 4), min(n, 4), squeeze=False).ravel()
    for index, (axis, channel) in enumerate(zip(axes, scenario.channels, strict=False)):
        if fit is None:
            spends = np.linspace(0, 3 * channel.half_saturation, 60)
            axis.plot(spends, Response([channel]).sales(spends[:, None])[:, 0])
        else:
            curve = fit.curves[index]
            axis.plot(curve.spends, curve.sales)
            axis.fill_between(curve.spends, curve.low, curve.high, alpha=0.25, label="90 % interval")
            axis.axvspan(*curve.observed, color="grey", alpha=0.15, label="observed spends")
            axis.legend(fontsize="small")
        axis.set(title=channel.name, xlabel="steady spend a day", ylabel="sales a day")
    for axis in axes[n:]:
        axis.set_axis_off()
    return figure


def _plans(comparison: Comparison) -> Figure:
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    days = np.arange(len(comparison.own))
    for index, name in enumerate(comparison.example.names):
        axes.plot(days, comparison.own[:, index], color=f"C{index}", label=f"{name}, this policy")
        axes.plot(days, comparison.best[:, index], color=f"C{index}", linestyle=":", label=f"{name}, optimum")
    demand = axes.twinx()
    demand.bar(days, comparison.example.day_demand, color="grey", alpha=0.2)
    demand.set(ylabel="demand (bars)", ylim=(0, 6))
    axes.set(xlabel="day", ylabel="spend", title="A held-out context")
    axes.legend(fontsize="small")
    return figure


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return base64.b64encode(buffer.getvalue()).decode()


def _page(name: str, comparison: Comparison, fit: Fit | None, pictures: tuple[str, str]) -> str:
    scenario = comparison.scenario
    rows = "".join(
        f"<tr><td>{html.escape(line.name)}</td><td>{line.contexts}</td><td>{line.mean_regret:.3%}</td>"
        f"<td>{line.p95_regret:.3%}</td><td>{line.budget_spent:.1%}</td><td>{line.violations}</td></tr>"
        for line in comparison.lines
    )
    source = "The curves are those of the simulator: no history was given."
    if fit is not None:
        said = "".join(f"<li>{html.escape(line)}</li>" for line in fit.statement())
        source = f"Fitted to the history (R squared {fit.r_squared:.3f}).<ul>{said}</ul>"
    better = "below" if comparison.policy.mean_regret < _best_rule(comparison) else "NOT below"
    low, high = scenario.daily_budget
    same, solver = comparison.lines[2:4]
    resolved = "better" if solver.mean_regret < same.mean_regret else "no better"
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(name)}</title><style>
body {{ font-family: sans-serif; max-width: 60em; margin: 2em auto }} img {{ max-width: 100% }}
td, th {{ padding: .2em .8em; text-align: right }} td:first-child {{ text-align: left }}</style></head><body>
<h1>{html.escape(name)}: {len(scenario.channels)} channels, {scenario.horizon_days} days</h1>
<h2>What it misses of the best plan</h2>
<p>Regret is the share of the best plan's sales, within the horizon, that was missed. The optimum is certified: no plan
sells more than it by more than a share of {comparison.largest_gap:.1e}.</p>
<table><tr><th>allocator</th><th>contexts</th><th>mean regret</th><th>95th percentile</th><th>budget spent</th>
<th>violations</th></tr>{rows}</table>
<p>The policy's mean regret is {better} that of the best simple rule. That a budget is spent says nothing of how well:
the caps until the money is gone spend all of it. Violations are counted in what was carried out: wishes beyond a budget
or a cap are scaled down before, here as by the service.</p>
<h2>Response curves</h2><p>{source}</p><img alt="response curves" src="data:image/png;base64,{pictures[0]}">
<h2>Spends beside the optimum's</h2><img alt="spends by day" src="data:image/png;base64,{pictures[1]}">
<h2>What it is good for, and what not</h2>
<ul><li>It answers in a constant time, without a solver, for budgets of {low:,.0f} to {high:,.0f} a day over at most
{scenario.horizon_days} days. Outside of that it answers too, untested.</li>
<li>Where the curves are known and concave, solving anew every day is {resolved} (mean regret {solver.mean_regret:.3%},
the policy's on the same contexts {same.mean_regret:.3%}) and cheap. Prefer it where a solver can run.</li>
<li>It is as good as its curves. Where a channel is not identified, its split is a guess, however small the regret.</li>
<li>It values nothing after the horizon, so that spends fall towards its end.</li></ul></body></html>
"""


def _best_rule(comparison: Comparison) -> float:
    return min(line.mean_regret for line in comparison.lines if "in hindsight" in line.name)
