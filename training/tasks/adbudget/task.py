"""Advertising budgets as a task: learned relative to a reference plan, and scored by what is missed of the best one."""

import importlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.training.environments.making import OWN_NAMESPACE, EnvironmentSpec
from polserve.training.environments.wrappers import changes_actions, changes_observations, layers
from polserve.training.learning.scores import SelectionGames
from polserve.training.tasks.adbudget.accounts import Account, account_from
from polserve.training.tasks.adbudget.campaigns import component_names
from polserve.training.tasks.adbudget.contexts import HISTORY_DAYS
from polserve.training.tasks.adbudget.environment import ALLOCATION_ID, AllocationEnv
from polserve.training.tasks.task import Narrator, ReportRequest, Task, TaskOptions, TaskSetup

if TYPE_CHECKING:
    from polserve.training.tasks.adbudget.curves.fit import Fit

MARGIN = 0.002
"""The loss that a candidate is allowed, as a part of what the champion returns more than the random policy: 0.05, the
margin of other tasks, is more than separates a trained policy from a simple rule."""


def _knows(environment_id: str) -> bool:
    """Whether the environment is the daily account."""
    return environment_id == ALLOCATION_ID


def _register(environment: EnvironmentSpec) -> None:
    """Make the environments of budgets known to Gymnasium when one of our own is asked for."""
    if environment.id.startswith(OWN_NAMESPACE):
        importlib.import_module("polserve.training.tasks.adbudget.registration")


def _spec_part(env: gym.Env[Any, Any]) -> pb.PolicySpec | None:
    """Spec's block of an allocator; None for any other environment."""
    innermost = env.unwrapped
    if not isinstance(innermost, AllocationEnv):
        return None
    account = innermost.account
    around = pairwise(layers(env))
    if any(changes_observations(layer, inner) or changes_actions(layer, inner) for inner, layer in around):
        return None  # what a request for a budget carries is not what the policy takes
    names = [channel.name for channel in account.channels]
    return pb.PolicySpec(
        allocation=pb.AllocationSpec(
            channels=names,
            currency=account.currency,
            history_days=HISTORY_DAYS,
            max_horizon_days=account.horizon_days,
            components=component_names(names),
        )
    )


def _set_up(environment: EnvironmentSpec, games: SelectionGames, fit: "Fit | None" = None) -> TaskSetup:
    """Learn to depart from the reference plan, and select by the share of what the best plan has."""
    from polserve.training.tasks.adbudget.allocator import AllocationFeatures, SpendPlan
    from polserve.training.tasks.adbudget.relative import RegretScore, make_accounts

    account = _account_of(environment.kwargs)
    return TaskSetup(
        make_envs=partial(make_accounts, environment),
        score=RegretScore(account, games),
        score_name=f"percentage of the best {account.compared_by}",
        features=AllocationFeatures(account),
        finishing=SpendPlan(account),
        write_report=partial(_write_report, account, fit),
    )


def _write_report(account: Account, fit: "Fit | None", request: ReportRequest, narrator: Narrator) -> dict[str, float]:
    """Write the page of the account, and say what the policy misses of the best plans."""
    from polserve.training.tasks.adbudget.report.money_table import money_lines
    from polserve.training.tasks.adbudget.report.page import sentence, write_allocation_report
    from polserve.training.tasks.adbudget.report.regret import measure_regret, parts_of

    if not account.is_concave:
        narrator.say(
            f"note: S-shaped curves: the best plans of {request.episodes:,} contexts are searched for; fewer, by "
            f"--set evaluation_episodes={max(1, request.episodes // 4)}, take less time"
        )
    with narrator.stage("comparing with the best plans", parts_of(account, fit)) as stage:
        regrets = measure_regret(request.policy, account, request.episodes, fit, stage.advance)
    with narrator.stage("drawing the curves and the plans"):
        write_allocation_report(request.folder, request.name, regrets, fit)
    for said in money_lines(regrets.next_money, account):
        narrator.say(said)
    for line in regrets.lines:
        narrator.say(f"regret {line.mean_regret:z8.3%}, 95th percentile {line.p95_regret:z8.3%}  {line.name}")
    for difference in (regrets.to_best_rule, regrets.to_resolved):
        narrator.say(sentence(difference, regrets.policy.contexts, account.compared_by))
    policy = regrets.policy
    return {"evaluation/mean_regret": policy.mean_regret, "evaluation/p95_regret": policy.p95_regret}


def _configure(environment: EnvironmentSpec, options: TaskOptions, narrator: Narrator) -> tuple[Task, EnvironmentSpec]:
    """Make the task for the account whose history or curves are given; `options.given` may tell what those do not.

    Raises:
        InvalidOption: a file is none that can be read, what is given is told by it, or the target cannot be reached.
    """
    from polserve.training.tasks.adbudget.sources import account_from_options

    account, fit = account_from_options(environment.kwargs, options, narrator)
    return replace(ADBUDGET, set_up=partial(_set_up, fit=fit)), replace(environment, kwargs={"account": account})


def _account_of(kwargs: Mapping[str, Any]) -> Account:
    """Account that the environment makes of its keyword arguments."""
    return account_from(kwargs.get("account") or kwargs.get("scenario"), kwargs.get("n_channels", 2))


ADBUDGET = Task(
    "adbudget",
    knows=_knows,
    register=_register,
    spec_part=_spec_part,
    set_up=_set_up,
    data_kind="an account's history",
    configure=_configure,
    takes_kwargs=True,
    margin=MARGIN,
)
