"""The page that a run leaves for people: the curves, the plans, and what the policy misses of the best one."""

import base64
import html
import io
import json
import math
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from polserve.training.tasks.adbudget.accounts import Account
from polserve.training.tasks.adbudget.curves.fit import Fit
from polserve.training.tasks.adbudget.report.figures import fitted_sales, parts_of_sales, plans, response_curves
from polserve.training.tasks.adbudget.report.money_table import money_section
from polserve.training.tasks.adbudget.report.regret import Difference, RegretReport
from polserve.training.tasks.adbudget.report.wording import amount, ratio

PAGE = "allocation.html"


def write_allocation_report(folder: Path, name: str, report: RegretReport, fit: Fit | None) -> None:
    """`folder` holds allocation.html, a page that needs nothing else, its pictures and allocation.json."""
    folder.mkdir(parents=True, exist_ok=True)
    mpl.use("agg")
    pictures = {"allocation": plans(report), "response_curves": response_curves(report.account, fit)}
    if fit is not None:
        pictures["fitted_sales"] = fitted_sales(fit, report.account.currency)
        pictures["parts_of_sales"] = parts_of_sales(fit, report.account.currency)
    for file, picture in pictures.items():
        picture.savefig(folder / f"{file}.png", dpi=120)
    figures = {
        "currency": report.account.currency,
        "sales_unit": report.account.sales_unit,
        "lines": [asdict(line) for line in report.lines],
        "differences": [asdict(difference) for difference in (report.to_best_rule, report.to_resolved)],
        "largest_gap": report.largest_gap,
        "next_money": asdict(report.next_money),
    }
    if fit is not None:
        figures["fit"] = _fit_figures(fit)
    (folder / "allocation.json").write_text(json.dumps(figures, indent=2))
    (folder / PAGE).write_text(_page(name, report, fit, pictures), encoding="utf-8")


def sentence(difference: Difference, contexts: int, compared_by: str) -> str:
    """Sentence on the policy and another allocator, with the interval of their difference."""
    return (
        f"The policy misses {difference.direction} the allocator '{difference.other}': {100 * difference.mean:+.3f} "
        f"percentage points of the best {compared_by}, 95 % interval {100 * difference.low:+.3f} to "
        f"{100 * difference.high:+.3f}, paired over {contexts} contexts."
    )


def _page(name: str, report: RegretReport, fit: Fit | None, pictures: dict[str, Figure]) -> str:
    account, money = report.account, report.account.currency
    sold_in = html.escape(account.sales_unit)
    returned = "return on ad spend" if account.sales_unit == money else f"{sold_in} for each {money}"
    rows = "".join(
        f"<tr><td>{html.escape(line.name)}</td><td>{line.contexts}</td><td>{line.mean_regret:z.3%}</td>"
        f"<td>{line.p95_regret:z.3%}</td><td>{amount(line.missed_sales)}</td><td>{line.budget_spent:.1%}</td>"
        f"<td>{ratio(line.return_on_spend)}</td><td>{line.violations}</td></tr>"
        for line in report.lines
    )
    said = "".join(
        f"<li>{html.escape(sentence(each, report.policy.contexts, account.compared_by))}</li>"
        for each in (report.to_best_rule, report.to_resolved)
    )
    low, high = account.daily_budget
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(name)}</title><style>
body {{ font-family: sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em }} img {{ max-width: 100% }}
table {{ border-collapse: collapse }} tr + tr {{ border-top: 1px solid #ddd }}
td, th {{ padding: .2em .8em; text-align: right }} td:first-child, th:first-child {{ text-align: left }}
.whole td, .whole th {{ padding: .2em .5em }} .whole td:not(:last-child) {{ white-space: nowrap }}
</style></head><body>
<h1>{html.escape(name)}: {len(account.channels)} channels, {account.horizon_days} days, {money}</h1>
{money_section(report.next_money, account)}
<h2>What it misses of the best plan</h2>
<p>Regret is the share of the best plan's {account.compared_by}, within the horizon, that was missed. The optimum is
certified: no plan has more than it by more than a share of {report.largest_gap:.1e}. Contexts are budgets of
{low:,.0f} to {high:,.0f} {money} a day, with events and past spends at random.</p>
{_uncertainty(account)}
<table><tr><th>allocator</th><th>contexts</th><th>mean regret</th><th>95th percentile</th>
<th>{account.compared_by} missed a horizon ({sold_in})</th><th>budget spent</th><th>{returned}</th>
<th>violations</th></tr>{rows}
</table>{_target(account)}
<ul>{said}</ul>
<p>That a budget is spent says nothing of how well: the caps until the money is gone spend all of it. Violations are
counted in what was carried out: wishes beyond a budget or a cap are scaled down before, here as by the service.</p>
<h2>Response curves</h2>{_source(account, fit)}{_image("response curves", pictures["response_curves"])}
{_fit_section(fit, pictures, money) if fit is not None else ""}
<h2>Spends beside the optimum's</h2>{_image("spends by day", pictures["allocation"])}
<h2>What it is good for, and what not</h2>
<ul><li>It answers in a constant time, without a solver, for budgets of {low:,.0f} to {high:,.0f} {money} a day over at
most {account.horizon_days} days. Outside of that it answers too, untested.</li>
<li>Where the curves are known and concave, solving anew every day is cheap. Where it misses less by the comparison
above, prefer it wherever a solver can run.</li>
<li>It is as good as its curves. Where a channel is not identified or confounded, its split may be a guess, however
small the regret.</li>
<li>It values nothing after the horizon, so that spends fall towards its end.</li></ul></body></html>
"""


def _uncertainty(account: Account) -> str:
    """Say which draws, drift and noise the policy met, and what the optimum knows of them."""
    said = []
    if draws := len(account.ensemble):
        said.append(
            f"Each context has the curves of one of {draws} draws. The policy learned over all of them, and is not "
            "told which it is; solving anew and equal marginal returns go by the curves in the middle; the optimum "
            "knows the context's draw."
        )
    if account.drift:
        said.append(
            f"The response of each channel drifts, by a daily step of standard deviation {account.drift:g} of its "
            "logarithm. The policy met it in training, and all allocators meet it here; none of them sees it, but the "
            "optimum knows that of each day beforehand."
        )
    if account.sales_noise:
        said.append(
            f"The sales that the policy learned from had noise of standard deviation {account.sales_noise:g} of their "
            "logarithm. Here the expected sales count, without it, for the optimum as for all others."
        )
    return f"<p>{' '.join(said)}</p>" if said else ""


def _target(account: Account) -> str:
    """Say what a target means for the figures of the table."""
    if not account.target_marginal:
        return ""
    unit = "" if account.sales_unit == account.currency else f" {html.escape(account.sales_unit)}"
    return (
        f"<p>Money that returns less than {ratio(account.target_marginal)}{unit} for each unit is not spent: this "
        "times the spends is the target's return. So spending too much costs as spending too little does.</p>"
    )


def _source(account: Account, fit: Fit | None) -> str:
    """Where the curves come from."""
    draws = f" Thin grey lines are the {len(account.ensemble)} draws." if account.ensemble else ""
    if fit is None:
        return f"<p>The curves were given, or are the simulator's: there was no history to fit.{draws}</p>"
    said = "".join(f"<li>{html.escape(line)}</li>" for line in fit.statement())
    last_day = fit.history.first_day + timedelta(days=len(fit.history.sales) - 1)
    days = f"{len(fit.history.sales)} days, {fit.history.first_day} to {last_day}"
    return f"<p>Fitted to {days} (R squared {fit.r_squared:.3f}).{draws}</p><ul>{said}</ul>"


def _fit_figures(fit: Fit) -> dict[str, object]:
    """Figures of a fit, by name."""
    curves = {
        curve.channel: {
            "verdict": curve.verdict,
            "mean_spend": curve.mean_spend,
            "sales_at_mean_spend": dict(zip(("low", "middle", "high"), curve.at_mean, strict=True)),
            "lift": asdict(curve.lift),
        }
        for curve in fit.curves
    }
    figures = {
        "first_day": str(fit.history.first_day),
        "days": len(fit.history.sales),
        "r_squared": fit.r_squared,
        "curves": curves,
        "sales_a_day": fit.decomposition.daily,
        "actual_sales_a_day": float(fit.history.sales.mean()),
        "level_today": fit.level,
    }
    held_out = fit.holdout
    if math.isnan(held_out.error):
        return figures
    errors = {"days": held_out.days, "error": held_out.error, "naive_error": held_out.naive_error}
    return figures | {"holdout": errors}


def _fit_section(fit: Fit, pictures: dict[str, Figure], money: str) -> str:
    """Actual beside fitted sales, and what those are made of."""
    daily, fitted, actual = fit.decomposition.daily, float(fit.expected.mean()), float(fit.history.sales.mean())
    spent = dict(zip(fit.history.channels, fit.history.spends.mean(axis=0).tolist(), strict=True))
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{sales:z,.2f}</td><td>{sales / fitted:z.1%}</td>"
        + (f"<td>{spent[name]:,.2f}</td><td>{ratio(sales / spent[name])}</td></tr>" if name in spent else "</tr>")
        for name, sales in daily.items()
    )
    sums = {"all of these, fitted": fitted, "what nothing explains": actual - fitted, "actual sales": actual}
    rows += "".join(f"<tr><td>{name}</td><td>{sales:,.2f}</td><td></td></tr>" for name, sales in sums.items())
    return f"""<h2>The fit</h2>{_image("actual and fitted sales by day", pictures["fitted_sales"])}
<table><tr><th>part of the sales</th><th>mean a day ({money})</th><th>share</th>
<th>spend a day ({money})</th><th>return on ad spend</th></tr>{rows}</table>
<p>Trend, season, events and weekday each say what they add to what is sold without advertising, after those above them;
a channel, what would not have been sold without it. Prices and promotions count as events. The return on ad spend is
the mean over the history; what the next unit of money returns is less, where a curve is concave.</p>
{_image("parts of the sales by week", pictures["parts_of_sales"])}"""


def _image(what: str, figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return f'<img alt="{what}" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'
