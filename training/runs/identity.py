"""What makes a run the same run, so that it may go on from a checkpoint."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from polserve.training.errors import CheckpointError
from polserve.training.runs.recipe import Recipe

ADDED = {"standardise": "False", "scale_by_returns": "False", "noise_memory": "1"}
"""Settings that the runs of earlier versions lack, and what these did."""


def identity_of(recipe: Recipe, seed: int, graph_wrappers: Sequence[str] = ()) -> dict[str, str]:
    """Collect the settings that must be the same for a run to be resumed, by name: all but how long it goes on.

    `graph_wrappers` are the environment's that the network does the work of.
    """
    replay = asdict(recipe.replay)
    del replay["checkpoint_replay"]
    settings = {
        "environment": recipe.environment.id,
        "environment_kwargs": recipe.environment.kwargs_json,
        "n_envs": recipe.loop.n_envs,
        "seed": seed,
        **({"graph_wrappers": ", ".join(graph_wrappers)} if graph_wrappers else {}),
        "life_loss_is_terminal": recipe.loop.life_loss_is_terminal,
        **asdict(recipe.network),
        **asdict(recipe.agent),
        **(asdict(recipe.exploration) if "exploration" in recipe.configs else {}),
        **asdict(recipe.rewards),
        **(replay if "replay" in recipe.configs else {}),
    }
    return {name: str(value) for name, value in settings.items()}


def check_same_run(saved: Mapping[str, str], ours: Mapping[str, str]) -> None:
    """Raise CheckpointError where the checkpoint is of a run with other settings."""
    saved = {**{name: value for name, value in ADDED.items() if name in ours}, **saved}
    differences = [
        f"{name} was {saved.get(name, 'absent')} and is {ours.get(name, 'absent')}"
        for name in sorted(saved.keys() | ours.keys())
        if saved.get(name) != ours.get(name)
    ]
    if differences:
        raise CheckpointError(
            f"the checkpoint is of another run: {'; '.join(differences)}; "
            "resume with the settings that the run was started with, or start anew without --resume"
        )
