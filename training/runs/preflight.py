"""What a run needs, checked before torch and mlflow are imported: a wrong argument is told in a second."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.spaces import Box

from polserve.protos.shared.names import MODEL_FILE
from polserve.training.environments.inspection import EnvironmentFacts
from polserve.training.environments.making import with_graph_wrappers
from polserve.training.environments.spaces import continuous_actions, discrete_actions
from polserve.training.errors import CheckpointError, InvalidOption, require
from polserve.training.registry.address import reach
from polserve.training.registry.names import check_policy_name
from polserve.training.runs import folder as run_folder
from polserve.training.runs.recipe import Recipe
from polserve.training.runs.tensorboard import check_tensorboard
from polserve.training.tasks.catalog import look_at

MOST_SHOWN = 3
"""Most folders that an error names."""
LARGEST_SEED = 2**63 - 1
"""The largest seed that the spec of a version holds."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where a run is kept, and what it begins with."""

    folder: Path
    """Folder of the checkpoint."""
    is_resumed: bool = False
    init_from: Path | None = None
    """Folder of a run or a policy version whose weights to begin with."""
    has_tensorboard: bool = False
    """Whether event files of TensorBoard are to be written."""


def check(recipe: Recipe, seed: int, beginning: Beginning, tracking_uri: str | None = None) -> EnvironmentFacts:
    """Check that the run can begin: its names, numbers, environment, files and registry are there.

    Raises:
        TrainingError: one is not.
    """
    check_beginning(recipe, beginning)
    run_folder.check_unlocked(beginning.folder)
    check_seed(seed)
    facts = inspect_for(recipe)
    reach(tracking_uri)
    run_folder.prepare(beginning.folder)  # last, so that a refused run leaves no folder behind
    return facts


def check_beginning(recipe: Recipe, beginning: Beginning) -> None:
    """Check that the policy's name is one, and that the files to begin with are there, as is what writes TensorBoard's.

    Raises:
        TrainingError: one is not.
    """
    check_policy_name(recipe.policy)
    if beginning.has_tensorboard:
        check_tensorboard()
    _check_files(beginning)


def inspect_for(recipe: Recipe) -> EnvironmentFacts:
    """Look at the recipe's environment, and check that its agent can act there.

    Raises:
        TrainingError: it cannot be made, does not keep to its API, or has spaces that the agent cannot learn in.
    """
    check_actions = continuous_actions if recipe.is_continuous else discrete_actions

    def check_spaces(_observations: Box, actions: gym.Space[Any]) -> None:
        check_actions(actions, recipe.environment.id)

    return look_at(with_graph_wrappers(recipe.environment), check_spaces)


def check_seed(seed: int) -> None:
    """Raise InvalidOption where the seed is negative, or more than a version's spec can hold."""
    require(0 <= seed <= LARGEST_SEED, "seed", f"0 to {LARGEST_SEED}", seed)


def _check_files(beginning: Beginning) -> None:
    folder, source = beginning.folder, beginning.init_from
    if source is not None:
        if source.resolve() == folder.resolve():
            raise InvalidOption(f"--init-from {source} is this run's own folder; give another --run-dir")
        if not any((source / name).is_file() for name in (run_folder.FILE_NAME, MODEL_FILE)):
            raise CheckpointError(
                f"--init-from {source}: expected a folder with {run_folder.FILE_NAME} (a run's) or {MODEL_FILE} (a "
                "policy version's, such as policies/mspacman/1); got neither"
            )
    if beginning.is_resumed and not run_folder.has_checkpoint(folder):
        others = run_folder.others_with_checkpoint(folder)
        shown = ", ".join(map(str, others[:MOST_SHOWN])) + (", ..." if len(others) > MOST_SHOWN else "")
        known = f"; there are checkpoints in {shown}" if others else ""
        raise CheckpointError(
            f"no checkpoint in {folder}; start the run without --resume, or give the run's folder as --run-dir{known}"
        )
