"""`polserve promote` and `polserve rollback`."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from polserve.protos.shared.names import CHAMPION
from polserve.training.environments.limits import MAX_EVALUATION_STEPS
from polserve.training.promotion.rules import LAST_SEED, LEAST_GAMES, MOST_GAMES, Criteria, Rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from polserve.training.promotion.candidacy import Case, Terms
    from polserve.training.registry.decisions import Ballot
    from polserve.training.registry.versions import PolicyRegistry, Verdict

    Show = Callable[[Case, Verdict], None]

DEFAULTS = Criteria()


def promote(
    policy: Annotated[str, typer.Argument(help="POLICY for its newest version, POLICY/VERSION, or POLICY@ALIAS.")],
    *,
    rule: Annotated[
        Rule, typer.Option(envvar="POLSERVE_PROMOTION_RULE", help="What the games must show of the candidate.")
    ] = DEFAULTS.rule,
    margin: Annotated[
        float,
        typer.Option(
            envvar="POLSERVE_PROMOTION_MARGIN",
            min=0.0,
            max=1.0,
            help="What it may lose: of the IQM by --rule not-worse, of the mean by either; a part of the champion's.",
        ),
    ] = DEFAULTS.margin,
    episodes: Annotated[
        int,
        typer.Option(
            envvar="POLSERVE_PROMOTION_EPISODES",
            min=LEAST_GAMES,
            max=MOST_GAMES,
            help="Games of each, on as many seeds.",
        ),
    ] = DEFAULTS.episodes,
    processes: Annotated[int, typer.Option(min=0, help="That play; 0 for one on each core.")] = 0,
    max_steps: Annotated[int, typer.Option(help="Steps after which a game is cut off.", min=1)] = MAX_EVALUATION_STEPS,
    module: Annotated[str, typer.Option(help="Python module that registers the environment.")] = "",
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=LAST_SEED - MOST_GAMES, help="Of the first game. [follows from the two versions]"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Promote without playing.")] = False,
    reason: Annotated[str, typer.Option(help="Why, with --force; kept in the registry.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a version @champion if its games allow it.

    It and the champion play the same games. Services follow the alias by themselves.
    """
    if force and not reason.strip():
        raise typer.BadParameter("--force needs a --reason")
    if reason and not force:
        raise typer.BadParameter("--reason goes with --force; without it the games are the reason")
    _check_registry()
    from polserve.training.machine.cores import cores
    from polserve.training.promotion.candidacy import Terms

    terms = Terms(Criteria(rule, margin, episodes), module, processes or cores(), seed, max_steps)
    _promote(policy, terms, reason, _print_json if as_json else _print_text)


def rollback(
    policy: Annotated[str, typer.Argument(help="Name of the policy.")],
    *,
    to: Annotated[str, typer.Option(metavar="VERSION", help="An earlier champion. [the one before]")] = "",
) -> None:
    """Make the version @champion that was champion before."""
    _check_registry()
    from polserve.training.registry.store import connect
    from polserve.training.registry.versions import PolicyRegistry

    before, after = PolicyRegistry(connect(is_created=False)).rollback(policy, to)
    print(f"{policy}/{after} is @{CHAMPION} again, in place of {before}")


def _check_registry() -> None:
    """Raise RegistryError where none answers: told before torch and mlflow are imported, which takes seconds."""
    from polserve.training.registry.address import reach

    reach(is_created=False)


def _promote(policy: str, terms: "Terms", forced: str, show: "Show") -> None:
    """Promote on the evidence, or for the reason `forced` where it is not ""."""
    from rich.console import Console

    from polserve.training.errors import PromotionRefused, RaceLost
    from polserve.training.promotion.candidacy import ALL_THE_SAME, Case, conclude, examine, hint, judge
    from polserve.training.registry.decisions import DecisionLog
    from polserve.training.registry.store import connect
    from polserve.training.registry.versions import Outcome, PolicyRegistry, Verdict

    client = connect(is_created=False)
    registry = PolicyRegistry(client)
    ballot = _ballot(registry, policy)
    case = Case(ballot, terms)
    if ballot.champion == ballot.candidate:
        return show(case, Verdict(Outcome.STANDING, f"{ballot.name} is @{CHAMPION} already"))
    if forced:
        verdict = Verdict(Outcome.FORCED, forced)
    elif ballot.champion is None:
        verdict = Verdict(Outcome.PROMOTED, "there was no champion")
    else:
        case = examine(registry, case, Console(stderr=True, highlight=False, soft_wrap=True))
        verdict = judge(case)
    verdict = conclude(registry, DecisionLog(client), case, verdict)
    show(case, verdict)
    if verdict.outcome is Outcome.LOST:
        raise RaceLost(verdict.reason)
    if verdict.outcome is Outcome.REFUSED:
        raise PromotionRefused(
            f"{ballot.name} is not promoted, @{CHAMPION} stays {ballot.champion}: {verdict.reason}; "
            f"every game is in MLflow run {verdict.run_id}; {hint(case)}{ALL_THE_SAME}"
        )
    return None


def _ballot(registry: "PolicyRegistry", policy: str) -> "Ballot":
    """Which version stands against which."""
    from polserve.protos.shared.version_names import VersionName
    from polserve.training.registry.decisions import Ballot

    name = VersionName.parse(policy)
    candidate = registry.resolve(name) if name.version or name.alias else registry.newest(name.policy)
    return Ballot(name.policy, candidate, registry.champion(name.policy))


def _print_text(case: "Case", verdict: "Verdict") -> None:
    """The table, and what came of it where that is good."""
    from polserve.protos.shared.tables import print_table
    from polserve.training.promotion.evidence import columns, rows
    from polserve.training.registry.versions import Outcome

    if case.evidence is not None:
        print(case.evidence.title)
        print_table([columns(case.evidence), *rows(case.evidence.comparison)])
    if verdict.outcome is Outcome.STANDING:
        print(verdict.reason)
    elif verdict.outcome in {Outcome.PROMOTED, Outcome.FORCED}:
        forced = "forced: " if verdict.outcome is Outcome.FORCED else ""
        print(f"{case.ballot.name} is @{CHAMPION} now: {forced}{verdict.reason}")


def _print_json(case: "Case", verdict: "Verdict") -> None:
    evidence = case.evidence
    games = {"environment": evidence.environment, "first_seed": evidence.first_seed} if evidence else {}
    comparison = asdict(evidence.comparison) if evidence else None
    print(
        json.dumps(
            {**asdict(case.ballot), **asdict(verdict), **asdict(case.terms.criteria), **games, "comparison": comparison}
        )
    )
