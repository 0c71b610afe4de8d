"""Recipes: an environment, an algorithm and its hyper-parameters, under a name."""

import dataclasses
import math
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from polserve.training.environments.making import EnvironmentSpec
from polserve.training.errors import InvalidOption, require
from polserve.training.learning.actor_critic_hyperparameters import DdpgConfig, SacConfig
from polserve.training.learning.hyperparameters import (
    ONLY_OF_ACTION_VALUES,
    DqnConfig,
    ExplorationConfig,
    LoopConfig,
    NetworkConfig,
    PqnConfig,
    ReplayConfig,
    RewardConfig,
)
from polserve.training.runs.option_names import unknown_option
from polserve.training.tasks.catalog import task_for
from polserve.training.tasks.task import Task

MOST_FRAMES = 16
"""Longest stack of observations that may be asked for."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that a training run depends on but its seed."""

    policy: str
    """Name under which versions are registered."""
    environment: EnvironmentSpec
    loop: LoopConfig = field(default_factory=LoopConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    agent: DqnConfig | PqnConfig | DdpgConfig | SacConfig = field(default_factory=DqnConfig)
    exploration: ExplorationConfig = field(default_factory=ExplorationConfig)
    """How an agent with discrete actions explores."""
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    """How an agent keeps a replay, where it learns from one."""
    rewards: RewardConfig = field(default_factory=RewardConfig)
    chosen_task: Task | None = None
    """The kind of problem; None for the task that knows the environment, else control."""
    threads: int = 1
    """CPU threads of torch, 0 for all cores; small networks are faster with one."""

    def __post_init__(self) -> None:
        """Check what the configurations ask of each other; raises InvalidOption."""
        if isinstance(self.agent, PqnConfig):
            require(self.network.quantiles == 1, "quantiles", "1, since PQN learns means", self.network.quantiles)
            return
        least = (self.agent.n_step + max(1, self.environment.frames)) * self.loop.n_envs
        capacity, starts = self.replay.replay_capacity, self.replay.learning_starts
        require(
            capacity >= least + self.loop.n_envs, "replay_capacity", f"at least {least + self.loop.n_envs}", capacity
        )
        require(starts >= least, "learning_starts", f"at least {least}", starts)

    @property
    def task(self) -> Task:
        """The kind of problem that is trained for."""
        return self.chosen_task or task_for(self.environment.id)

    @property
    def is_continuous(self) -> bool:
        """Whether the agent's actions are continuous."""
        return isinstance(self.agent, (DdpgConfig, SacConfig))

    @property
    def configs(self) -> dict[str, Any]:
        """The configurations that its agent uses, by field name."""
        names = ["loop", "network", "agent", "rewards"]
        if not self.is_continuous:
            names.append("exploration")
        if not isinstance(self.agent, PqnConfig):
            names.append("replay")
        return {name: getattr(self, name) for name in names}

    @property
    def settings(self) -> dict[str, tuple[str, ...]]:
        """Names of the settings that its agent uses, by the configuration that they are in."""
        unused = ONLY_OF_ACTION_VALUES if self.is_continuous else frozenset[str]()
        if isinstance(self.agent, PqnConfig):
            unused = frozenset(("quantiles",))
        names = {owner: [field.name for field in dataclasses.fields(config)] for owner, config in self.configs.items()}
        return {owner: tuple(name for name in every if name not in unused) for owner, every in names.items()}

    def params(self) -> dict[str, object]:
        """Value of every setting that its agent uses, by name."""
        return {
            "environment": self.environment.id,
            "environment_kwargs": self.environment.kwargs_json,
            "frames": self.environment.frames,
            "task": self.task.name,
            "threads": self.threads,
            **{name: getattr(getattr(self, owner), name) for owner, names in self.settings.items() for name in names},
        }


def with_options(recipe: Recipe, options: Sequence[str]) -> Recipe:
    """Recipe with `name=value` options in place of its hyper-parameters.

    Raises:
        InvalidOption: its agent uses no such hyper-parameter, or the value is not of its type.
    """
    owners = {name: owner for owner, names in recipe.settings.items() for name in names}
    changes: dict[str, dict[str, Any]] = {name: {} for name in recipe.configs}
    environment = recipe.environment
    for option in options:
        name, separator, text = option.partition("=")
        if separator and name == "frames":
            environment = dataclasses.replace(environment, frames=_frames(text))
            continue
        if not separator:
            raise InvalidOption(f"expected name=value, such as n_envs=8, got {option!r}")
        if name not in owners:
            raise InvalidOption(unknown_option(name, [*owners, "frames"]))
        owner = owners[name]
        changes[owner][name] = _parse(name, text, typing.get_type_hints(type(recipe.configs[owner]))[name])
    configs = {name: dataclasses.replace(config, **changes[name]) for name, config in recipe.configs.items()}
    return dataclasses.replace(recipe, environment=environment, **configs)


def _apart(kind: Any) -> tuple[tuple[str, ...], Any]:
    """Words that a value may be, and the type that it has otherwise: bool of `bool | Literal["auto"]`."""
    parts = typing.get_args(kind) if typing.get_origin(kind) is typing.Union else (kind,)
    words = [word for part in parts if typing.get_origin(part) is typing.Literal for word in typing.get_args(part)]
    return tuple(words), next(part for part in parts if typing.get_origin(part) is not typing.Literal)


def _frames(text: str) -> int:
    """Length of the stack of latest observations that a network sees; 0 for the latest alone."""
    frames = _parse("frames", text, int)
    require(0 <= frames <= MOST_FRAMES, "frames", f"0 to {MOST_FRAMES}", frames)
    return int(frames)


def _parse(name: str, text: str, kind: Any) -> Any:
    """`text` as a value of type `kind`."""
    if typing.get_origin(kind) is typing.Literal:
        if text in typing.get_args(kind):
            return text
        raise InvalidOption(f"{name}: expected one of {', '.join(typing.get_args(kind))}, got {text!r}")
    if typing.get_origin(kind) is types.UnionType:
        if text.lower() == "none":
            return None
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    words, kind = _apart(kind)
    if text.lower() in words:
        return text.lower()
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if typing.get_origin(kind) is tuple:
            return tuple(int(part) for part in text.split(",") if part)
        value = int(text.replace("_", "")) if kind is int else float(text)
        require(math.isfinite(value), name, "a finite number", text)
    except (KeyError, ValueError) as error:
        expected = "integers separated by commas" if typing.get_origin(kind) is tuple else kind.__name__
        expected = f"{', '.join(words)}, true or false" if words else expected
        raise InvalidOption(f"{name}: expected {expected}, got {text!r}") from error
    return value
