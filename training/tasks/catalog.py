"""The list of tasks; light to import."""

from typing import Any

import gymnasium as gym

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.training.environments.inspection import CheckSpaces, EnvironmentFacts, accept_spaces, inspect_environment
from polserve.training.environments.making import EnvironmentSpec
from polserve.training.tasks.adbudget.task import ADBUDGET
from polserve.training.tasks.atari.task import ATARI
from polserve.training.tasks.control.task import CONTROL
from polserve.training.tasks.task import Task

TASKS = (ADBUDGET, ATARI, CONTROL)
"""Those that know environments first."""


def task_for(environment_id: str) -> Task:
    """Task that knows the environment by its id, else control."""
    return next((task for task in TASKS if task.knows(environment_id)), CONTROL)


def margin(environment_id: str) -> float:
    """Loss that is too small to matter in the environment, as a part of what a champion returns more than chance."""
    return task_for(environment_id).margin


def published_scores(environment_id: str) -> str:
    """Say what is published on scores in the environment; "" where no task knows of any."""
    return next(filter(None, (task.published_scores(environment_id) for task in TASKS)), "")


def register_own(environment: EnvironmentSpec) -> None:
    """Make the environment known to Gymnasium where it is one of a task's.

    Raises:
        UnknownEnvironment: it is one, and a package is missing for it.
    """
    for task in TASKS:
        task.register(environment)


def look_at(environment: EnvironmentSpec, check_spaces: CheckSpaces = accept_spaces) -> EnvironmentFacts:
    """Look at an environment, and ask the tasks what they know of it.

    Raises:
        TrainingError: as `inspect_environment`.
    """
    return inspect_environment(environment, check_spaces, spec_part_of)


def spec_part_of(env: gym.Env[Any, Any]) -> pb.PolicySpec:
    """Part of the spec that tasks tell of policies for this environment."""
    whole = pb.PolicySpec()
    for task in TASKS:
        if (part := task.spec_part(env)) is not None:
            whole.MergeFrom(part)
    return whole
