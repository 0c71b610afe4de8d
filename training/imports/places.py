"""The environment of an imported policy: named by the user, and looked at where it is installed."""

from dataclasses import dataclass, field

import gymnasium as gym

from polserve.training.environments.inspection import EnvironmentFacts
from polserve.training.environments.making import EnvironmentSpec
from polserve.training.errors import UnknownEnvironment, UnsupportedEnvironment
from polserve.training.tasks.catalog import look_at


@dataclass(frozen=True, slots=True)
class Place:
    """Where an imported policy acts, as far as this machine knows."""

    environment: EnvironmentSpec = field(default_factory=lambda: EnvironmentSpec(""))
    """The environment that the user named; its id is "" where none was."""
    facts: EnvironmentFacts | None = None
    """What the environment showed; None where it is not installed, or none was named."""
    missing: str = "no environment was named"
    """Why there are no facts; "" where there are."""


def find_place(environment: EnvironmentSpec | None) -> Place:
    """Look at the environment that is named; one that is not installed leaves a place without facts.

    Raises:
        TrainingError: it is installed, and cannot be made or is faulty.
    """
    if environment is None:
        return Place()
    try:
        return Place(environment, look_at(environment), "")
    except UnknownEnvironment as error:
        return Place(environment, None, str(error))
    except UnsupportedEnvironment as error:
        if not isinstance(error.__cause__, (ImportError, gym.error.DependencyNotInstalled)):
            raise
        return Place(environment, None, str(error))
