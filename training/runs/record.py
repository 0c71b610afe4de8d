"""What MLflow keeps of a run beside its figures: its settings, and what made it."""

import platform
from importlib.metadata import version

from polserve.training.runs.initial_weights import InitialWeights
from polserve.training.runs.recipe import Recipe
from polserve.training.runs.trainee import Trainee
from polserve.training.versions.provenance import environment_commit, git_commit, machine


def params_of(recipe: Recipe, seed: int) -> dict[str, object]:
    """Collect the settings of a run by name, as MLflow's parameters."""
    module = recipe.environment.module
    return {**recipe.params(), **({"module": module} if module else {}), "seed": seed}


def tags_of(recipe: Recipe, seed: int, trainee: Trainee, initial: InitialWeights) -> dict[str, str]:
    """Collect what made a run: the policy, the code and the machine, as MLflow's tags."""
    return {
        "policy": recipe.policy,
        "env_id": recipe.environment.id,
        "algo": trainee.agent.algorithm,
        "seed": str(seed),
        "git_commit": git_commit(),
        "env_git_commit": environment_commit(recipe.environment),
        "machine": machine(trainee.device),
        "init_from": initial.description,
        "python_version": platform.python_version(),
        **{f"{package}_version": version(package) for package in ("polserve", "torch", "gymnasium")},
    }
