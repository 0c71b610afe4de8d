"""The seam between training and the kinds of problems that it is used for.

A new kind of problem is a folder beside this module with a `Task` in it, a line in `catalog`, and a preset. What a task
leaves out is what any Gymnasium environment needs. Light to import: what a task brings to a run is imported with it.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import gymnasium as gym

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.training.environments.making import EnvironmentSpec, VecEnv, make_vec
from polserve.training.errors import InvalidOption
from polserve.training.learning.scores import ScorePolicy, SelectionGames
from polserve.training.tasks.selection import mean_return

if TYPE_CHECKING:
    from torch import nn

    from polserve.training.learning.agents.actor_critic import Features
    from polserve.training.learning.hyperparameters import NetworkConfig
    from polserve.training.learning.networks import QuantileNetwork

MEAN_RETURN = "mean return"
"""The score of most tasks."""
GOLDEN_SIZE = 256
"""Golden observations of most tasks."""


class StageProgress(Protocol):
    """One stage of a run, of several parts."""

    def advance(self, parts: int = 1) -> None:
        """Count more parts as done."""

    def reach(self, done: float) -> None:
        """Set how many parts are done, counting a part that has begun as the fraction done."""


class Narrator(Protocol):
    """Whoever tells a person what a run is doing; one that tells nobody will do."""

    def say(self, text: str) -> None:
        """Print a line."""

    def stage(self, title: str, total: int = 1) -> AbstractContextManager[StageProgress]:
        """Show a stage of `total` parts, which is over with the block."""


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """What a person tells a task beside the preset."""

    data: Path | None = None
    """File of records that the environment is to be made from."""
    curves: Path | None = None
    """File of response curves that the environment is to be made from."""
    target_roas: float | None = None
    target_marginal: float | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    """What the records do not tell, by name."""
    seed: int = 0
    lift: Path | None = None
    """File of experiments beside the records."""

    @property
    def asks(self) -> tuple[str, ...]:
        """Names of the options, but `given` and `seed`, that say something."""
        names = ("data", "curves", "target_roas", "target_marginal")
        return tuple(name for name in names if getattr(self, name) is not None)


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """A trained policy, and where its report belongs."""

    name: str
    policy: "nn.Module"
    """The exported module, on the CPU."""
    episodes: int
    """Episodes of the evaluation."""
    folder: Path


WriteReport: TypeAlias = Callable[[ReportRequest, Narrator], dict[str, float]]
"""Writes what people want to see of a policy of this task; returns figures by metric path."""


def write_nothing(_request: ReportRequest, _narrator: Narrator) -> dict[str, float]:
    """Leave it at the report that every run writes."""
    return {}


@dataclass(frozen=True, slots=True)
class TaskSetup:
    """What a task brings to one run."""

    make_envs: Callable[[int], VecEnv]
    """Makes environments to learn in, as many as asked for, stepped together."""
    score: ScorePolicy
    """How good a policy is, by episodes that nothing is learned from."""
    score_name: str = MEAN_RETURN
    preprocessing: "nn.Module | None" = None
    """From the environment's observation to what a value network takes, as a part of the exported graph."""
    make_network: "Callable[[NetworkConfig], QuantileNetwork] | None" = None
    """Makes the value network that learns here; None for the one that suits the observations."""
    widening: "nn.Module | None" = None
    """From the values of the actions that are learned to those of all the environment's actions, as a part of the
    exported graph; None where they are the same."""
    features: "Features | None" = None
    """From the environment's observation to what an actor takes, likewise; None for its numbers as they are."""
    finishing: "nn.Module | None" = None
    """From observation and action to the action that is answered, likewise; None for the action as it is."""
    golden_size: int = GOLDEN_SIZE
    """Golden observations to sample."""
    notes: tuple[str, ...] = ()
    """What a person should know before hours are spent, a sentence each."""
    write_report: WriteReport = write_nothing


def set_up_any(environment: EnvironmentSpec, games: SelectionGames) -> TaskSetup:
    """Learn in the environment as it is, and select by its mean return."""
    make_envs = partial(make_vec, environment)
    return TaskSetup(make_envs, partial(mean_return, make_envs, games))


def _knows_none(_environment_id: str) -> bool:
    """Leave all environments to other tasks, but where a recipe names this one."""
    return False


def _registers_none(_environment: EnvironmentSpec) -> None:
    """Register nothing: the environments are Gymnasium's, or the user's own."""


def _adds_nothing(_env: gym.Env[Any, Any]) -> pb.PolicySpec | None:
    """Leave the spec as it is for any environment."""
    return None


def _takes_no_data(
    environment: EnvironmentSpec, options: TaskOptions, _narrator: Narrator
) -> tuple["Task", EnvironmentSpec]:
    option = options.asks[0]
    name, got = option.replace("_", "-"), getattr(options, option)
    raise InvalidOption(f"--{name}: expected none for {environment.id}, got {got}; leave it out")


def _publishes_nothing(_environment_id: str) -> str:
    """Know no published scores."""
    return ""


@dataclass(frozen=True, slots=True)
class Task:
    """A kind of problem."""

    name: str
    knows: Callable[[str], bool] = _knows_none
    """Whether an environment of this id is this kind of problem, with no recipe saying so."""
    register: Callable[[EnvironmentSpec], None] = _registers_none
    """Makes the environment known to Gymnasium where its id may be one of this task's; raises UnknownEnvironment where
    a package is missing for that."""
    spec_part: Callable[[gym.Env[Any, Any]], pb.PolicySpec | None] = _adds_nothing
    """What the spec of policies for this environment has beside what its spaces tell; None where it has nothing."""
    set_up: Callable[[EnvironmentSpec, SelectionGames], TaskSetup] = set_up_any
    """What this task brings to a run."""
    data_kind: str = ""
    """What --data is to this task, such as "an account's history"; "" where it takes no `TaskOptions`."""
    configure: Callable[[EnvironmentSpec, TaskOptions, Narrator], tuple["Task", EnvironmentSpec]] = _takes_no_data
    """This task and its environment, made from what `TaskOptions` say."""
    takes_kwargs: bool = False
    """Whether arguments of a preset's environment may be given beside the preset."""
    published_scores: Callable[[str], str] = _publishes_nothing
    """A sentence on published scores in the environment of an id; "" where none are known."""
    margin: float = 0.05
    """Loss that is too small to matter, as a part of what a champion returns more than the random policy."""
