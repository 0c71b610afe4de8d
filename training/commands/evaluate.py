"""`polserve evaluate`."""

import contextlib
import json
import os
import sys
import tempfile
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polserve.training.environments.limits import MAX_EVALUATION_STEPS

if TYPE_CHECKING:
    from polserve.training.evaluation.statistics import ReturnSummary
    from polserve.training.versions.onnx_policy import OnnxPolicy


class Which(StrEnum):
    """Who plays beside the baseline."""

    VERSION = "version"
    RANDOM = "random"


def evaluate(
    policy: Annotated[str, typer.Argument(help="POLICY for its champion, POLICY/VERSION, or POLICY@ALIAS.")],
    *,
    which: Annotated[
        Which, typer.Option("--policy", help="Play the version, or only the random policy.")
    ] = Which.VERSION,
    env: Annotated[
        str, typer.Option(help="Gymnasium id to play instead of the policy's own, with the same observations.")
    ] = "",
    module: Annotated[str, typer.Option(help="Python module that registers the environment.")] = "",
    episodes: Annotated[int, typer.Option(help="Whole episodes on seeds that training never used.", min=2)] = 100,
    max_steps: Annotated[
        int, typer.Option(help="Steps after which an episode is cut off.", min=1)
    ] = MAX_EVALUATION_STEPS,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Play a version beside the random policy and print returns.

    The version comes from the registry (MLFLOW_TRACKING_URI, or ./mlflow.db), else from the bundled policies.
    """
    from rich.console import Console

    from polserve.training.registry.address import has_store, reach

    found = None if has_store() else _bundled(policy)
    if found is None:
        reach()
    from polserve.protos.shared.tables import print_table
    from polserve.training.environments.inspection import check_fits
    from polserve.training.environments.making import EVALUATION_FIRST_SEED, from_message
    from polserve.training.evaluation.episodes import cut_off, play_episodes, random_policy
    from polserve.training.evaluation.statistics import summarise
    from polserve.training.tasks.atari.published import published_scores

    name, graph = _load(policy, found)
    environment = from_message(graph.spec, module)
    if env:
        environment = replace(environment, id=env, kwargs={})
    said = Console(stderr=True, highlight=False, soft_wrap=True)
    with contextlib.redirect_stdout(sys.stderr):  # an environment that prints is no part of the answer
        for caution in check_fits(environment, graph.spec):
            said.print(f"note: {caution}")
    players = {"random": random_policy(environment, 0)}
    if which is Which.VERSION:
        players = {name: graph.act, **players}
    summaries = {}
    print(f"playing {episodes} episodes of {environment.id} each: {', '.join(players)}", file=sys.stderr)
    for player, choose_actions in players.items():
        with contextlib.redirect_stdout(sys.stderr):
            played = play_episodes(choose_actions, environment, episodes, EVALUATION_FIRST_SEED, max_steps)
        if part := cut_off(played, max_steps, "--max-steps lets them go on"):
            said.print(f"warning: {player}: {part}")
        summaries[player] = summarise([episode.episode_return for episode in played])
    if as_json:
        print(json.dumps({player: asdict(summary) for player, summary in summaries.items()}))
        return
    print(environment.id)
    columns = ("policy", "games", "mean return", "95% interval", "median", "IQM", "SD")
    rows = [_row(player, summary) for player, summary in summaries.items()]
    if published := published_scores(environment.id):
        rows += [
            ("published random", "", f"{published.random:.2f}"),
            ("published human", "", f"{published.human:.2f}"),
        ]
    print_table([columns, *rows])


def _row(player: str, summary: "ReturnSummary") -> tuple[str, ...]:
    interval = f"{summary.interval_low:.2f} to {summary.interval_high:.2f}"
    figures = (f"{value:.2f}" for value in (summary.median, summary.iqm, summary.standard_deviation))
    return (player, str(summary.episodes), f"{summary.mean:.2f}", interval, *figures)


def _bundled(text: str) -> Path:
    """The graph of a bundled version."""
    from polserve.protos.shared.names import CHAMPION, MODEL_FILE
    from polserve.protos.shared.version_names import VersionName
    from polserve.training.errors import RegistryError

    name = VersionName.parse(text)
    bundled = Path(__file__).resolve().parents[2] / "policies"
    versions = sorted((bundled / name.policy).glob("*/" + MODEL_FILE), key=lambda path: int(path.parent.name))
    wanted = [path for path in versions if name.version in ("", path.parent.name) and name.alias in ("", CHAMPION)]
    if not wanted:
        known = ", ".join(sorted(f"{path.parent.name}/{path.name}" for path in bundled.glob("*/*"))) or "none"
        raise RegistryError(f"no bundled policy {text!r}; bundled are {known}; set MLFLOW_TRACKING_URI for a registry")
    return wanted[-1]


def _load(text: str, bundled: Path | None) -> "tuple[str, OnnxPolicy]":
    """The version's full name and its graph: the `bundled` one, or one of the registry where that has the policy."""
    from polserve.protos.shared.version_names import VersionName
    from polserve.training.registry.store import connect
    from polserve.training.registry.versions import PolicyRegistry
    from polserve.training.versions.onnx_policy import OnnxPolicy

    name = VersionName.parse(text)
    if bundled is None:
        is_told = bool(os.environ.get("MLFLOW_TRACKING_URI"))  # NOTE: MLflow sets it once a client is made
        registry = PolicyRegistry(connect())
        if is_told or registry.has(name.policy):
            version = registry.resolve(name)
            with tempfile.TemporaryDirectory() as folder:
                path, _ = registry.graph(name.policy, version, Path(folder))
                return f"{name.policy}/{version}", OnnxPolicy(path.read_bytes())
        bundled = _bundled(text)
    return f"{name.policy}/{bundled.parent.name}", OnnxPolicy(bundled)
