"""The pictures of an account: response curves, the fit to its history, and a plan beside the best one."""

from datetime import timedelta

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from polserve.training.tasks.adbudget.accounts import Account
from polserve.training.tasks.adbudget.contexts import DAYS_A_WEEK
from polserve.training.tasks.adbudget.curves.fit import Fit
from polserve.training.tasks.adbudget.curves.response import Channel, Floats, Response
from polserve.training.tasks.adbudget.report.regret import RegretReport

COLUMNS = 4
"""Curves side by side."""
DRAW_ALPHA = 0.3
"""How strongly each of up to 50 draws is drawn, so that the curve is seen among them."""


def response_curves(account: Account, fit: Fit | None) -> Figure:
    """Sales by steady spend of each channel, and by each draw of the account; of a fit, with intervals and days."""
    n = len(account.channels)
    rows, columns = -(-n // COLUMNS), min(n, COLUMNS)
    figure = Figure(figsize=(max(4 * columns, 6), 3.2 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    draws = fit.ensemble if fit is not None and account.ensemble else account.ensemble  # on a day of average demand
    for index, (axis, channel) in enumerate(zip(axes, account.channels, strict=False)):
        spends = np.linspace(0, 3 * channel.half_saturation, 60) if fit is None else fit.curves[index].spends
        for draw, member in enumerate(draws):
            sold, label = _sales(member[index], spends), "" if draw else "a draw of the curve"
            axis.plot(spends, sold, color="grey", alpha=DRAW_ALPHA, linewidth=0.8, label=label)
        if fit is None:
            axis.plot(spends, _sales(channel, spends), color="C0", label="the curve")
        else:
            curve = fit.curves[index]
            axis.fill_between(curve.spends, curve.low, curve.high, alpha=0.25, label="90 % interval")
            axis.plot(curve.spends, curve.sales, color="C0", label="fitted curve")
            axis.axvspan(*curve.observed, color="grey", alpha=0.12, label="range of the observed spends")
            days = fit.history.spends[:, index]
            base = axis.get_xaxis_transform()  # heights in parts of the axis
            axis.plot(days, np.full_like(days, 0.02), "|", color="black", alpha=0.4, transform=base, label="a day")
        axis.set(title=channel.name, xlabel=f"steady spend a day ({account.currency})", ylim=(0, None))
        axis.set(ylabel=f"sales a day ({account.sales_unit})")
    for axis in axes[n:]:
        axis.set_axis_off()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small")
    return figure


def _sales(channel: Channel, spends: Floats) -> Floats:
    """Sales a day (points,) of steady spends (points,) on one channel."""
    return Response([channel]).sales(spends[:, None])[:, 0]


def fitted_sales(fit: Fit, currency: str) -> Figure:
    """Draw the sales of each day of a history beside those of the fit."""
    history = fit.history
    days = [history.first_day + timedelta(days=day) for day in range(len(history.sales))]
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.plot(np.array(days, "datetime64[D]"), history.sales, ".", color="black", markersize=3, label="actual")
    axes.plot(np.array(days, "datetime64[D]"), fit.expected, color="C0", linewidth=1.2, label="fitted")
    last, foretold = days[-fit.holdout.days :], "forecast by a fit to the days before"
    axes.plot(np.array(last, "datetime64[D]"), fit.holdout.forecast, color="C1", linewidth=1.2, label=foretold)
    _date(axes)
    axes.set(ylabel=f"sales a day ({currency})", ylim=(0, None))
    axes.set_title(f"Actual and fitted sales, R squared {fit.r_squared:.3f}")
    figure.legend(loc="outside lower center", ncols=3, fontsize="small")
    return figure


def parts_of_sales(fit: Fit, currency: str) -> Figure:
    """Draw what the weekly sales are made of: sold anyway, and by each channel; and what moves demand, below."""
    parts, weeks = fit.decomposition, len(fit.expected) // DAYS_A_WEEK
    first = [fit.history.first_day + timedelta(days=DAYS_A_WEEK * week) for week in range(weeks)]
    by_week = parts.sales[: weeks * DAYS_A_WEEK].reshape(weeks, DAYS_A_WEEK, -1).mean(axis=1)
    of_demand = len(parts.parts)
    stacked = [by_week[:, :of_demand].sum(axis=1), *by_week[:, of_demand:].T]
    figure = Figure(figsize=(9, 5.4), layout="constrained")
    sold, moved = figure.subplots(2, sharex=True, height_ratios=(3, 2))
    dates = np.array(first, "datetime64[D]")
    sold.stackplot(dates, *stacked, labels=["without advertising", *parts.channels], alpha=0.8)
    for index, name in enumerate(parts.parts[1:], start=1):
        moved.plot(dates, by_week[:, index], color=f"C{index - 1}", linestyle="--", label=name)
    _date(moved)
    sold.set(ylabel=f"sales a day ({currency})", ylim=(0, None), title="What the fitted sales are made of, by week")
    moved.set(ylabel=f"added a day ({currency})")
    figure.legend(loc="outside lower center", ncols=COLUMNS, fontsize="small")
    return figure


def _date(axes: Axes) -> None:
    """Write dates below the axes, as few as fit."""
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def plans(report: RegretReport) -> Figure:
    """Draw the policy's spends by day beside the optimum's, over each day's demand."""
    example, currency = report.example, report.account.currency
    figure = Figure(figsize=(9, 5.4), layout="constrained")
    spends, demand = figure.subplots(2, sharex=True, height_ratios=(4, 1))
    days = np.arange(len(report.own))
    for index, name in enumerate(example.names):
        spends.plot(days, report.own[:, index], color=f"C{index}", label=f"{name}, this policy")
        spends.plot(days, report.best[:, index], color=f"C{index}", linestyle=":", label=f"{name}, optimum")
    budget = f"{example.budget:,.0f} {currency} over {example.horizon_days} days"
    spends.set(ylabel=f"spend a day ({currency})", ylim=(0, None), title=f"A held-out context: {budget}")
    demand.bar(days, example.day_demand, color="grey", alpha=0.6)
    demand.set(xlabel="day of the horizon (0 is the first)", ylabel="demand")
    figure.legend(loc="outside lower center", ncols=2 if len(example.names) < COLUMNS else COLUMNS, fontsize="small")
    return figure
