"""`polserve promote` and `polserve rollback`: the commands over `polserve.training.promotion`."""

import contextlib
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from polserve.protos.shared.names import CHAMPION
from polserve.training.environments.limits import LAST_SEED, MATCH_ENVS, MAX_EVALUATION_STEPS
from polserve.training.promotion.decision import (
    LEAST_GAMES,
    MOST_GAMES,
    Criteria,
    Decision,
    DecisionKind,
    Rule,
)

if TYPE_CHECKING:
    from polserve.training.promotion.evidence import Evidence

DEFAULTS = Criteria()


def promote(
    policy: Annotated[str, typer.Argument(help="POLICY for its newest version, POLICY/VERSION, or POLICY@ALIAS.")],
    *,
    rule: Annotated[
        Rule,
        typer.Option(envvar="POLSERVE_PROMOTION_RULE", help="Require games that show it better, or no worse."),
    ] = DEFAULTS.rule,
    margin: Annotated[
        float | None,
        typer.Option(
            envvar="POLSERVE_PROMOTION_MARGIN",
            min=0.0,
            max=1.0,
            help="Let the candidate lose this part of what the champion returns more than the random policy. "
            "[suits the task; 0.05 for most]",
        ),
    ] = None,
    margin_return: Annotated[
        float | None,
        typer.Option(
            envvar="POLSERVE_PROMOTION_MARGIN_RETURN", min=0.0, help="Let it lose so much return, in place of --margin."
        ),
    ] = None,
    episodes: Annotated[
        int,
        typer.Option(
            envvar="POLSERVE_PROMOTION_EPISODES",
            min=LEAST_GAMES,
            max=MOST_GAMES,
            help="Let each play so many games, on as many seeds.",
        ),
    ] = DEFAULTS.episodes,
    processes: Annotated[int, typer.Option(min=0, help="Play in so many processes; 0 for one on each core.")] = 0,
    envs: Annotated[
        int, typer.Option(help="Play in so many environments together in each process, at most.", min=1)
    ] = MATCH_ENVS,
    max_steps: Annotated[int, typer.Option(help="Cut a game off after so many steps.", min=1)] = MAX_EVALUATION_STEPS,
    module: Annotated[str, typer.Option(help="Import this Python module, which registers the environment.")] = "",
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=LAST_SEED - MOST_GAMES, help="Seed the first game so. [follows from the two versions]"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Promote without playing.")] = False,
    reason: Annotated[str, typer.Option(help="Say why, with --force; the registry keeps it.")] = "",
    allow_space_change: Annotated[
        bool,
        typer.Option(
            "--allow-space-change", help="Promote it even though services without this setting refuse its spaces."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a version @champion if its games allow it.

    It and the champion play the same games. Services follow the alias by themselves.
    """
    if force and not reason.strip():
        raise typer.BadParameter("--force needs a --reason")
    if reason and not force:
        raise typer.BadParameter("--reason goes with --force; without it the games are the reason")
    if margin is not None and margin_return is not None:
        raise typer.BadParameter("--margin is a part, --margin-return a return; give one of them")
    _reach_registry()
    from rich.console import Console

    from polserve.training.errors import PromotionRefused, RaceLost
    from polserve.training.evaluation.game_progress import ConsoleProgress
    from polserve.training.promotion.promote import promote
    from polserve.training.wording import by_a_command

    show = _print_json if as_json else _print_text
    try:
        # What an environment prints is no part of the answer.
        with by_a_command(), contextlib.redirect_stdout(sys.stderr):
            decision = promote(
                policy,
                rule=rule,
                margin=margin,
                margin_return=margin_return,
                episodes=episodes,
                max_steps=max_steps,
                module=module,
                seed=seed,
                processes=processes,
                envs=envs,
                force_reason=reason,
                allow_space_change=allow_space_change,
                progress=ConsoleProgress(Console(stderr=True, highlight=False, soft_wrap=True), "pairs of games"),
            )
    except (PromotionRefused, RaceLost) as refused:
        if refused.decision is not None:
            show(refused.decision)
        raise
    show(decision)


def rollback(
    policy: Annotated[str, typer.Argument(help="Name of the policy.")],
    *,
    to: Annotated[str, typer.Option(metavar="VERSION", help="Go back to this earlier champion. [the one before]")] = "",
    allow_refused: Annotated[
        bool, typer.Option("--allow-refused", help="Go back to it even though services refused or withdrew it.")
    ] = False,
    allow_space_change: Annotated[
        bool,
        typer.Option(
            "--allow-space-change", help="Go back to it even though services without this setting refuse its spaces."
        ),
    ] = False,
) -> None:
    """Make the version @champion that was champion before.

    Versions that services refused or withdrew are passed over.
    """
    _reach_registry()
    from polserve.training.promotion.rollback import rollback
    from polserve.training.wording import by_a_command

    with by_a_command():
        move = rollback(policy, to=to, allow_refused=allow_refused, allow_space_change=allow_space_change)
    for note in move.notes:
        print(f"note: {note}", file=sys.stderr)
    instead = f"in place of {move.replaces}" if move.replaces else "where there was none"
    print(f"{policy}/{move.version} is @{CHAMPION} again, {instead}")


def _reach_registry() -> None:
    """Raise RegistryError where none answers: told before torch and mlflow are imported, which takes seconds."""
    from polserve.training.registry.address import reach
    from polserve.training.registry.program import prepare_program

    prepare_program()
    reach(is_created=False)


def _print_text(decision: Decision) -> None:
    """Print the table of the games, and what came of the candidacy where that is good."""
    if decision.evidence is not None:
        _print_evidence(decision.evidence)
    if decision.kind is DecisionKind.STANDING:
        print(decision.reason)
    elif decision.is_champion:
        forced = "forced: " if decision.kind is DecisionKind.FORCED else ""
        print(f"{decision.candidacy.name} is @{CHAMPION} now: {forced}{decision.reason}")


def _print_evidence(evidence: "Evidence") -> None:
    from polserve.protos.shared.tables import print_table
    from polserve.training.promotion.evidence import columns, rows

    print(evidence.title)
    print_table([columns(evidence), *rows(evidence.comparison)])


def _print_json(decision: Decision) -> None:
    candidacy, evidence = decision.candidacy, decision.evidence
    versions = {"policy": candidacy.policy, "candidate": candidacy.candidate, "champion": candidacy.champion}
    found = {"outcome": decision.kind, "reason": decision.reason, "run_id": decision.run_id}
    told = ("environment", "first_seed", "random_mean", "loss_allowed")
    games = {name: getattr(evidence, name) for name in told} if evidence else {}
    comparison = asdict(evidence.comparison) if evidence else None
    print(json.dumps({**versions, **found, **asdict(candidacy.criteria), **games, "comparison": comparison}))
