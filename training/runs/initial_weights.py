"""Where a run begins: at random weights, or at those of an earlier run or of a policy version."""

import re
from dataclasses import dataclass
from pathlib import Path

import torch

from polserve.protos.shared.names import MODEL_FILE
from polserve.training.errors import CheckpointError
from polserve.training.learning.agents.agent import Weights
from polserve.training.runs import checkpoint
from polserve.training.runs import folder as run_folder
from polserve.training.versions.onnx_policy import OnnxPolicy
from polserve.training.versions.version import read_weights

STATISTICS = re.compile(r"wrappers\.\d+\.mean$")
"""Name of a mean that observations are standardised by."""

REWARD_FACTOR = "reward_factor"
"""Name of the number that an exported graph divides values by; absent where it is 1."""


@dataclass(frozen=True, slots=True)
class InitialWeights:
    """The weights that a run begins with."""

    description: str = ""
    """Where they are from, for people; "" for random ones."""
    environment_steps: int = 0
    """Steps that they learned from."""
    selection_steps: int = 0
    """Steps of the greedy episodes that chose them."""
    hours: float = 0.0
    """Wall time that their training took."""
    reward_factor: float = 1.0
    """Factor that rewards were learned from times."""


def read_weights_of(source: Path) -> tuple[Weights, InitialWeights]:
    """Read the weights in a run's folder, of its best evaluation, or in a policy version's, like policies/mspacman/1.

    Raises:
        CheckpointError: there are none.
    """
    if (source / run_folder.FILE_NAME).exists():
        saved = checkpoint.load(source, "give --init-from another folder")
        loop, before = saved["loop"], InitialWeights(**saved["initial_weights"])
        name = f"MLflow run {saved['run_id']} at step {loop['step']:,}"
        steps = loop["step"] + before.environment_steps
        evaluated = loop["selection_steps"] + before.selection_steps
        hours = saved["elapsed_s"] / 3600 + before.hours
        factor = loop.get("spread", {}).get("factor") or 1.0
        return loop["best"] or loop["agent"]["online"], InitialWeights(name, steps, evaluated, hours, factor)
    if (source / MODEL_FILE).exists():
        spec = OnnxPolicy(source / MODEL_FILE).spec
        weights = {name: torch.from_numpy(array) for name, array in read_weights(source / MODEL_FILE).items()}
        past = spec.provenance
        seen = torch.tensor(past.environment_steps, dtype=torch.float64)  # what statistics in the graph are of
        counts = {name.removesuffix("mean") + "count": seen for name in weights if STATISTICS.search(name)}
        factor = float(weights.pop(REWARD_FACTOR, 1.0))
        length = past.environment_steps, past.selection_steps, past.training_hours
        return {**counts, **weights}, InitialWeights(f"{spec.name}/{source.name}", *length, factor)
    raise CheckpointError(
        f"--init-from {source}: expected a folder with {run_folder.FILE_NAME} (a run's) or {MODEL_FILE} (a policy "
        "version's, such as policies/mspacman/1); got neither"
    )


def check_fits(source: Path, found: Weights, ours: Weights) -> None:
    """Raise CheckpointError where weights are not of this run's network; `source` is the folder that they are from."""
    for name, weight in ours.items():
        if name in found and found[name].shape == weight.shape:
            continue
        has = f"is {tuple(found[name].shape)} there" if name in found else "is missing there"
        raise CheckpointError(
            f"--init-from {source}: its network is another one ({name} {has} and {tuple(weight.shape)} here); give the "
            "environment, the algorithm and the hidden_sizes that it was trained with, or leave out --init-from"
        )
