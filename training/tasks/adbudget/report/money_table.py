"""What the next unit of money returns on each channel, as a table of the page and as lines of the terminal."""

import html
from collections.abc import Mapping

from polserve.training.tasks.adbudget.accounts import Account
from polserve.training.tasks.adbudget.curves.curve import Verdict
from polserve.training.tasks.adbudget.report.next_money import ChannelMoney, Estimate, NextMoney, SteadySpend
from polserve.training.tasks.adbudget.report.wording import amount, change, ratio

VERDICTS: Mapping[Verdict, str] = {
    "identified": "identified by an experiment",
    "interval": "given no confounding",
    "confounded": "CONFOUNDED",
    "not identified": "NOT identified",
}
"""How far each curve can be trusted, in few words."""
NOTHING = "&ndash;"
UNSEEN = "*"
"""Mark of a spend beyond those that were observed."""
BEYOND = f"{UNSEEN} marks a spend that no day of the history had: there the curve is an extrapolation"
SAME = 1e-3
"""Part of a sum of money by which another may differ and count as the same."""


def money_lines(found: NextMoney, account: Account) -> list[str]:
    """Sentences on each channel, and on what the plan's spends would bring in place of today's."""
    lines = []
    for channel in found.channels:
        said = f"best steady plan {_at(channel.planned, account)}"
        if channel.today is not None:
            said = f"last {found.days} days {_at(channel.today, account)}; {said}"
        lines.append(f"{channel.channel}: {said}")
    star = [BEYOND] if _is_any_extrapolated(found) else []
    return [*lines, *star, *_sentences(found, account)]


def money_section(found: NextMoney, account: Account) -> str:
    """Table of the channels with spends, marginal returns, the best plan and the target, and what to know of them."""
    money = html.escape(account.currency)
    unit = "" if account.sales_unit == account.currency else f" ({html.escape(account.sales_unit)})"
    returns = f"<th>the next {money} returns there{unit}</th>"
    has_history = found.days > 0
    today = f"<th>spend a day, last {found.days} days ({money})</th>{returns}" if has_history else ""
    has_before = any(channel.before is not None for channel in found.channels)
    today += f"<th>by fits without these {found.days} days{unit}</th>" if has_before else ""
    target = f"<th>target{unit}</th>" if account.target_marginal else ""
    curve = "<th>curve</th>" if has_history else ""
    rows = "".join(_row(channel, account, has_before=has_before) for channel in found.channels)
    said = "".join(f"<p>{html.escape(each[0].upper() + each[1:])}.</p>" for each in _sentences(found, account))
    return f"""<h2>What the next {money} returns</h2>
<table class="whole"><tr><th>channel</th>{today}
<th>best steady plan's spend a day ({money})</th>{returns}{target}{curve}</tr>{rows}
</table>{said}
<p>{html.escape(" ".join(_notes(found, account)))}</p>"""


def _sentences(found: NextMoney, account: Account) -> list[str]:
    """Say what the plan's spends bring in place of today's, and what the last days changed; nothing without history."""
    if not found.days:
        return []
    idle = f"in the last {found.days} days nothing was spent, and the best steady plan spends nothing, either"
    return [idle if found.gain is None else _gain(found, found.gain, account), *_changes(found, account)]


def _is_any_extrapolated(found: NextMoney) -> bool:
    """Whether a spend of today or of the plan is one that no day of the history had."""
    return any(spend and spend.is_extrapolated for each in found.channels for spend in (each.today, each.planned))


def _changes(found: NextMoney, account: Account) -> list[str]:
    """Say what the last days of the history changed; nothing where there are no fits without them."""
    if all(channel.before is None for channel in found.channels):
        return []
    without, next_money = f"by fits without the last {found.days} days", f"the next {account.currency}"
    changed = [
        f"{each.channel}: {next_money} at today's spend returns {_estimate(each.today.returned)}, and "
        f"{_estimate(each.before)} {without}"
        for each in found.channels
        if each.has_changed and each.before is not None and each.today is not None and each.today.returned is not None
    ]
    return changed or [f"{next_money} at today's spend returns, on each channel, what lies in its interval {without}"]


def _row(channel: ChannelMoney, account: Account, *, has_before: bool) -> str:
    cells, change_ = [html.escape(channel.channel)], ""
    if channel.today is not None:
        cells += [_money(channel.today), _returned(channel.today)]
        if has_before:
            cells += [NOTHING if channel.before is None else _estimate(channel.before)]
        change_ = f" ({change(channel.planned.money - channel.today.money)})"
    cells += [_money(channel.planned) + change_, _returned(channel.planned)]
    cells += [ratio(account.target_marginal)] if account.target_marginal else []
    cells += [] if channel.verdict is None else [VERDICTS[channel.verdict]]
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _money(spend: SteadySpend) -> str:
    return amount(spend.money) + (UNSEEN if spend.is_extrapolated else "")


def _returned(spend: SteadySpend) -> str:
    """Write what the next unit returns, with its interval."""
    if spend.returned is None:
        return NOTHING
    return _estimate(spend.returned)


def _estimate(estimate: Estimate, named: str = "") -> str:
    """Write a return, with its interval in brackets; `named` stands before that."""
    interval = estimate.interval
    return ratio(estimate.value) + (f" ({named}{ratio(interval[0])} to {ratio(interval[1])})" if interval else "")


def _at(spend: SteadySpend, account: Account) -> str:
    if spend.returned is None:
        return f"{_money(spend)} a day"
    returned = _estimate(spend.returned, "90 % interval ")
    return f"{_money(spend)} a day, where the next {account.currency} returns {returned}"


def _gain(found: NextMoney, gain: Estimate, account: Account) -> str:
    """Say what the plan's spends bring in place of today's, and how sure that is."""
    today = sum(channel.today.money for channel in found.channels if channel.today is not None)
    planned = sum(channel.planned.money for channel in found.channels)
    is_same = abs(planned - today) < SAME * max(today, planned)
    money = f"the same {amount(planned)}" if is_same else f"{amount(planned)} in place of {amount(today)}"
    said = (
        f"with {money} {account.currency} a day, the best steady plan adds {amount(gain.value)} {account.sales_unit} a "
        f"day to the {account.compared_by} of the last {found.days} days' split"
    )
    if gain.interval is not None:
        low, high = gain.interval
        said += f", 90 % interval {amount(low)} to {amount(high)}, above 0 by {found.agreeing_share:.0%} of the fits"
        said += "" if low > 0 else ", so that it is not known whether moving money pays"
    doubtful = [each.channel for each in found.channels if each.verdict in {"confounded", "not identified"}]
    return said + (f"; not to be trusted before an experiment: {', '.join(doubtful)}" if doubtful else "")


def _notes(found: NextMoney, account: Account) -> list[str]:
    """Say what the table's columns are."""
    money = account.currency
    has_history = found.days > 0
    today = ", at today's level" if has_history else ""
    steady = (
        f"The next {money} is one more a day that goes on: it returns what it adds to the sales a day once all that "
        f"carries over has arrived, at average demand{today}, without events."
    )
    if account.target_marginal:
        plan = f"spends up to {amount(found.money)} {money} a day as long as the next {money} returns the target"
    elif not has_history:
        plan = f"splits {amount(found.money)} {money} a day, the middle of the budgets, so that it sells most"
    else:
        plan = "splits the same money so that it sells most"
    notes = [steady, f"The plan {plan} if it goes on, beyond any horizon."]
    if has_history:
        notes.append("What it changes stands in brackets behind its spends.")
        notes.append("Intervals hold 90 % of the fits that the curves' intervals are made of.")
    elif account.ensemble:
        notes.append("Intervals hold 90 % of the draws.")
    if _is_any_extrapolated(found):
        notes.append(f"{BEYOND}.")
    return notes
