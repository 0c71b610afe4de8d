"""What makes a run the same run, so that it may go on from a checkpoint."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from polserve.training.environments.makers import MAKER_ID
from polserve.training.errors import CheckpointError
from polserve.training.learning.pictures import HIGHEST_PIXEL
from polserve.training.runs.recipe import Recipe

SCALING = "scale_by_returns"
ADDED = {"standardise": "False", SCALING: "False", "noise_memory": "1"}
"""Settings that the runs of earlier versions lack, and what these did."""
OWN_SETTINGS = {"trace_decay": "pqn", "target_entropy": "sac"}
"""A setting that one algorithm alone has, by which it is known."""
MOST_SHOWN = 6
"""Most differing settings that an error lists."""


def identity_of(
    recipe: Recipe, seed: int, graph_wrappers: Sequence[str] = (), highest: float | None = None
) -> dict[str, str]:
    """Collect the settings that must be the same for a run to be resumed, by name: all but how long it goes on.

    `graph_wrappers` are the environment's that the network does the work of, and `highest` is what it divides
    observations by; earlier versions divided by no other number than 255.
    """
    replay = asdict(recipe.replay)
    del replay["checkpoint_replay"]
    settings = {
        "environment": recipe.environment.id,
        "environment_kwargs": recipe.environment.kwargs_json,
        "n_envs": recipe.loop.n_envs,
        "seed": seed,
        **({"graph_wrappers": ", ".join(graph_wrappers)} if graph_wrappers else {}),
        **({"observations_divided_by": highest} if highest not in {None, HIGHEST_PIXEL} else {}),
        "life_loss_is_terminal": recipe.loop.life_loss_is_terminal,
        **asdict(recipe.network),
        **asdict(recipe.agent),
        **(asdict(recipe.exploration) if "exploration" in recipe.configs else {}),
        **asdict(recipe.rewards),
        **(replay if "replay" in recipe.configs else {}),
    }
    return {name: str(value) for name, value in settings.items()}


def check_same_run(saved: Mapping[str, str], ours: Mapping[str, str], *, is_by_maker: bool = False) -> None:
    """Raise CheckpointError where the checkpoint is of a run with other settings.

    `is_by_maker` says that a callable without a name makes our environment: earlier versions named it `MAKER_ID`.
    """
    if is_by_maker and saved["environment"] == MAKER_ID:
        saved = {**saved, "environment": ours["environment"]}
    if ours.get(SCALING) == "auto" and saved.get(SCALING, ADDED[SCALING]) == "False":
        saved = {**saved, SCALING: "auto"}  # which learned from rewards as they are, and goes on so
    saved = {**{name: value for name, value in ADDED.items() if name in ours}, **saved}
    differing = [name for name in sorted(saved.keys() | ours.keys()) if saved.get(name) != ours.get(name)]
    if differing:
        raise CheckpointError(
            f"the checkpoint is of another run: {_another_run(saved, ours, differing)}; "
            "resume with the settings that the run was started with, or start anew without --resume"
        )


def _another_run(saved: Mapping[str, str], ours: Mapping[str, str], differing: Sequence[str]) -> str:
    """Say how two runs differ: by their environment or their algorithm, which many settings follow, else by those."""
    if saved["environment"] != ours["environment"]:
        return f"its environment was {saved['environment']} and is {ours['environment']}"
    if _algorithm(saved) != _algorithm(ours):
        return f"its algorithm was {_algorithm(saved)} and is {_algorithm(ours)}"
    shown = [f"{name} was {saved.get(name, 'absent')} and is {ours.get(name, 'absent')}" for name in differing]
    rest = [f"and {len(shown) - MOST_SHOWN} settings more"] if len(shown) > MOST_SHOWN else []
    return "; ".join([*shown[:MOST_SHOWN], *rest])


def _algorithm(settings: Mapping[str, str]) -> str:
    """Name of the algorithm that has such settings: a checkpoint holds no other name of it."""
    if "twin_critics" in settings:
        return "td3" if settings["twin_critics"] == "True" else "ddpg"
    return next((name for setting, name in OWN_SETTINGS.items() if setting in settings), "dqn")
