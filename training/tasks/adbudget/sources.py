"""What an account is made from: a history, curves that were fitted elsewhere, or neither, and a target."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polserve.training.errors import InvalidOption, require
from polserve.training.tasks.adbudget.accounts import Account, account_from, default_account, kwargs_of
from polserve.training.tasks.adbudget.history.currencies import code_of
from polserve.training.tasks.task import Narrator, TaskOptions

if TYPE_CHECKING:
    from polserve.training.tasks.adbudget.curves.fit import Fit

NOT_IN_DATA = ("currency", "horizon_days", "ensemble", "drift", "sales_noise")
"""What is known of an account beside its history."""
NOT_IN_CURVES = (
    "horizon_days", "daily_budget", "cap_factor", "weekday_demand", "event_probability", "ensemble", "drift",
    "sales_noise",
)  # fmt: skip
"""What is known of an account beside its curves."""


def account_from_options(
    kwargs: Mapping[str, Any], options: TaskOptions, narrator: Narrator
) -> tuple[dict[str, Any], "Fit | None"]:
    """Account, as what JSON has of it, and the fit to its history; `kwargs` are the environment's own.

    Raises:
        InvalidOption: what is asked for cannot be, or not together.
    """
    for one, other in (("data", "curves"), ("target_roas", "target_marginal")):
        both = {one, other} <= set(options.asks)
        require(not both, f"{one}, {other}", "one of the two", "both; leave out either")
    for name in ("target_roas", "target_marginal"):
        target = getattr(options, name)
        require(target is None or 0 < target < float("inf"), name, "a number above 0", target)
    fit = None
    if options.data is not None:
        account, fit = _from_history(options.data, options, narrator)
    elif options.curves is not None:
        account = _from_curves(options.curves, options, narrator)
    else:
        told = options.given or kwargs
        account = account_from(told.get("account") or told.get("scenario"), told.get("n_channels", 2))
    return kwargs_of(_with_target(account, options, narrator)), fit


def _from_history(path: Path, options: TaskOptions, narrator: Narrator) -> "tuple[Account, Fit]":
    from polserve.training.tasks.adbudget.curves.earlier import MEMBERS as EARLIER_MEMBERS
    from polserve.training.tasks.adbudget.curves.earlier import has_earlier, with_earlier
    from polserve.training.tasks.adbudget.curves.fit import MEMBERS, count_fits, fit_response
    from polserve.training.tasks.adbudget.curves.lift import read_lift_tests
    from polserve.training.tasks.adbudget.history.history import read_history

    given = dict(options.given)
    _check_given("--data", given, NOT_IN_DATA, "history")
    if isinstance(given.get("currency"), str):
        given["currency"] = code_of(given["currency"]) or given["currency"]
    likely = default_account()
    _with_given(replace(likely, ensemble=(likely.channels,)), given)  # so that a fault is told before the fit
    history = read_history(path)
    also = f"; left alone: {', '.join(history.ignored)}" if history.ignored else ""
    narrator.say(f"channels of {path}: {', '.join(history.channels)}{also}")
    currency = given.get("currency", history.currency)
    require(currency == history.currency or not history.currency, "--env-kwargs: currency", history.currency, currency)
    tests = () if options.lift is None else read_lift_tests(options.lift, history.channels)
    with narrator.stage(f"fitting response curves to {len(history.sales)} days", count_fits(MEMBERS, tests)) as stage:
        fit = fit_response(history, np.random.default_rng(options.seed), MEMBERS, stage.reach, tests)
    if has_earlier(len(history.sales)):
        with narrator.stage("fitting them without the last days, to see what those changed", EARLIER_MEMBERS) as stage:
            fit = with_earlier(fit, tests, np.random.default_rng(options.seed), stage.reach)
    account = _with_given(replace(fit.account(), ensemble=fit.ensemble_today), {"ensemble": False, **given})
    narrator.say(f"fitted {len(history.sales)} days of {path}: R squared {fit.r_squared:.3f}")
    for line in fit.statement():
        narrator.say(line)
    if not currency:
        narrator.say(f"the history tells no currency: amounts are taken for {account.currency}")
    return account, fit


def _from_curves(path: Path, options: TaskOptions, narrator: Narrator) -> Account:
    from polserve.training.tasks.adbudget.curves.elsewhere import read_curves

    given = options.given
    _check_given("--curves", given, NOT_IN_CURVES, "curves")
    curves = read_curves(path)
    if options.target_roas is not None and not curves.is_money:
        raise InvalidOption(
            f"target_roas: expected returns in money, got {curves.return_unit}; give the curves a return_value, the "
            f"{curves.currency} that one of them is worth, or a target_marginal in {curves.return_unit} for each unit"
        )
    draws = f" in {len(curves.ensemble)} draws, {len(curves.learned)} of them to learn over," if curves.ensemble else ""
    narrator.say(f"read the curves of {len(curves.channels)} channels{draws} from {path}")
    for line in curves.statement():
        narrator.say(line)
    for line in curves.warnings():
        narrator.say(f"warning: {line}")
    return _with_given(curves.account(), given)


def _check_given(option: str, given: Mapping[str, Any], known: tuple[str, ...], source: str) -> None:
    if unknown := given.keys() - set(known):
        raise InvalidOption(
            f"with {option}, --env-kwargs takes {', '.join(known[:-1])} and {known[-1]}, the {source} tells the rest; "
            f"got {', '.join(sorted(unknown))}"
        )


def _with_given(account: Account, given: Mapping[str, Any]) -> Account:
    """Account with what is told beside its source; "ensemble" says whether contexts have its members' curves."""
    told = dict(given)
    is_ensemble = told.pop("ensemble", bool(account.ensemble))
    require(isinstance(is_ensemble, bool), "--env-kwargs: ensemble", "true or false", is_ensemble)
    require(not is_ensemble or bool(account.ensemble), "--env-kwargs: ensemble", "curves with draws", "none")
    account = replace(account, ensemble=account.ensemble if is_ensemble else ())
    return account_from({**asdict(account), **told})


def _with_target(account: Account, options: TaskOptions, narrator: Narrator) -> Account:
    """Account that spends only what the target allows."""
    if not {"target_roas", "target_marginal"} & set(options.asks):
        return account
    from polserve.training.tasks.adbudget.plans.targets import marginal_for_roas, require_spending

    if options.target_marginal is not None:
        with narrator.stage(f"checking how much money returns {options.target_marginal:g} for each unit"):
            require_spending(account, float(options.target_marginal))
        return replace(account, target_marginal=float(options.target_marginal))
    roas = float(options.target_roas or 0.0)
    with narrator.stage(f"finding how far money returns {roas:g} for each unit"):
        marginal = marginal_for_roas(account, roas)
    if marginal == 0:
        narrator.say(f"even the highest spends return {roas:g} on average: the target never holds anything back")
    else:
        narrator.say(
            f"return on ad spend {roas:g}: spending ends where a unit of money returns less than {marginal:.3f}"
        )
    return replace(account, target_marginal=marginal)
