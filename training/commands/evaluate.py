"""`polserve evaluate`: the command over `polserve.training.evaluate`."""

import contextlib
import json
import sys
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from polserve.protos.shared.figures import figure
from polserve.training.environments.limits import EVALUATION_ENVS, MAX_EVALUATION_STEPS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polserve.training.evaluation.statistics import ReturnSummary


class Which(StrEnum):
    """Who plays beside the baseline."""

    VERSION = "version"
    RANDOM = "random"


def evaluate(
    policy: Annotated[
        str,
        typer.Argument(help="POLICY for its champion, POLICY/VERSION, POLICY@ALIAS, or the folder of a version."),
    ],
    *,
    which: Annotated[
        Which, typer.Option("--policy", help="Play the version and the random policy, or only the random policy.")
    ] = Which.VERSION,
    env: Annotated[
        str, typer.Option(help="Play this Gymnasium id, not the policy's own; its observations must be the same.")
    ] = "",
    module: Annotated[str, typer.Option(help="Import this Python module, which registers the environment.")] = "",
    episodes: Annotated[
        int, typer.Option(help="Play so many whole episodes, on seeds that training never used.", min=2)
    ] = 100,
    max_steps: Annotated[
        int, typer.Option(help="Cut an episode off after so many steps.", min=1)
    ] = MAX_EVALUATION_STEPS,
    envs: Annotated[int, typer.Option(help="Play in so many environments together, at most.", min=1)] = EVALUATION_ENVS,
    first_seed: Annotated[
        int | None,
        typer.Option(help="Seed of the first episode, 2000000000 or more; the others follow. [default: the version's]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Play a version beside the random policy and print returns.

    The version comes from the registry (MLFLOW_TRACKING_URI, or ./mlflow.db), else from the bundled policies.
    """
    _reach_registry(policy)
    from rich.console import Console

    from polserve.training.evaluate import find_policy, games_of
    from polserve.training.evaluation.evaluation import RANDOM, evaluate_beside_random
    from polserve.training.evaluation.game_progress import ConsoleProgress
    from polserve.training.evaluation.statistics import summarise

    progress = ConsoleProgress(Console(stderr=True, highlight=False, soft_wrap=True), "episodes")
    with contextlib.redirect_stdout(sys.stderr):  # an environment that prints is no part of the answer
        found = find_policy(policy, env=env, module=module, progress=progress)
        games = games_of(found, episodes, max_steps, first_seed, envs)
        if which is Which.RANDOM:
            summaries = {RANDOM: summarise(games.play_random(progress))}
        else:
            done = evaluate_beside_random(found.name, found.choose_actions, games, progress)
            summaries = {done.policy: done.summary, RANDOM: done.random_summary}
    if as_json:
        print(json.dumps({player: asdict(summary) for player, summary in summaries.items()}))
    else:
        _print_table(found.environment.id, summaries)


def _reach_registry(policy: str) -> None:
    """Raise RegistryError where the registry does not answer: before torch and mlflow are imported, for seconds."""
    from polserve.protos.shared.version_names import names_folder
    from polserve.training.registry.address import has_store, reach
    from polserve.training.registry.program import prepare_program

    prepare_program()
    if has_store() and not names_folder(policy):
        reach()


def _print_table(environment_id: str, summaries: "Mapping[str, ReturnSummary]") -> None:
    from polserve.protos.shared.tables import print_table
    from polserve.training.tasks.catalog import published_scores

    print(environment_id)
    columns = ("policy", "games", "mean return", "95% interval", "median", "IQM", "SD")
    rows = [_row(player, summary) for player, summary in summaries.items()]
    print_table([columns, *rows])
    if published := published_scores(environment_id):
        print(published)


def _row(player: str, summary: "ReturnSummary") -> tuple[str, ...]:
    told = (summary.mean, summary.interval_low, summary.interval_high, summary.median, summary.iqm)
    mean, low, high, *others = (figure(value, ".2f") for value in (*told, summary.standard_deviation))
    return (player, str(summary.episodes), mean, f"{low} to {high}", *others)
