"""What MLflow keeps of a run beside its figures: its settings, and what made it."""

import platform
from importlib.metadata import version

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.training.runs.recipe import Recipe


def params_of(recipe: Recipe, seed: int) -> dict[str, object]:
    """Collect the settings of a run by name, as MLflow's parameters."""
    module = recipe.environment.module
    return {**recipe.params(), **({"module": module} if module else {}), "seed": seed}


def tags_of(recipe: Recipe, algorithm: str, provenance: pb.Provenance) -> dict[str, str]:
    """Collect what made a run: the policy, the code and the machine, as MLflow's tags."""
    return {
        "policy": recipe.policy,
        "env_id": recipe.environment.id,
        "algo": algorithm,
        "seed": str(provenance.seed),
        "git_commit": provenance.git_commit,
        "env_git_commit": provenance.environment_git_commit,
        "machine": provenance.machine,
        "init_from": provenance.initial_weights,
        "python_version": platform.python_version(),
        **{f"{package}_version": version(package) for package in ("polserve", "torch", "gymnasium")},
    }
