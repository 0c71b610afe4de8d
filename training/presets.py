"""Recipes: an environment, an algorithm and its hyper-parameters, under a name."""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from training.agents.dqn import DqnConfig
from training.envs import EnvironmentSpec
from training.errors import InvalidOption, require
from training.learners import ReplayConfig, RewardConfig
from training.loop import LoopConfig
from training.networks import NetworkConfig


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that a training run depends on but its seed."""

    policy: str
    """Name under which versions are registered."""
    environment: EnvironmentSpec
    loop: LoopConfig = field(default_factory=LoopConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    agent: DqnConfig = field(default_factory=DqnConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    rewards: RewardConfig = field(default_factory=RewardConfig)
    is_screens: bool = False
    """Whether the network sees stacks of grey screens made of the environment's colour frames."""
    threads: int = 1
    """CPU threads of torch, 0 for all cores; small networks are faster with one."""

    def __post_init__(self) -> None:
        """Check what the configurations ask of each other; raises InvalidOption."""
        least = (self.agent.n_step + max(1, self.environment.frames)) * self.loop.n_envs
        capacity, starts = self.replay.replay_capacity, self.replay.learning_starts
        require(
            capacity >= least + self.loop.n_envs, "replay_capacity", f"at least {least + self.loop.n_envs}", capacity
        )
        require(starts >= least, "learning_starts", f"at least {least}", starts)

    @property
    def configs(self) -> dict[str, Any]:
        """The configurations by field name."""
        return {name: getattr(self, name) for name in ("loop", "network", "agent", "replay", "rewards")}

    def params(self) -> dict[str, object]:
        """Every setting by name."""
        return {
            "environment": self.environment.id,
            "environment_kwargs": self.environment.kwargs_json,
            **{name: value for config in self.configs.values() for name, value in dataclasses.asdict(config).items()},
        }


PRESETS: Mapping[str, Recipe] = {
    # Found by a random search; what mattered: a high learning rate that falls, a long horizon, and enough exploration
    # left for the rare states near the track's ends. benchmarks/cartpole.py shows what it reaches.
    "cartpole": Recipe(
        policy="cartpole",
        environment=EnvironmentSpec("CartPole-v1"),
        loop=LoopConfig(steps=200_000, n_envs=16, evaluate_every=2_000, stop_return=500.0),
        replay=ReplayConfig(updates_per_vector_step=4),
        agent=DqnConfig(
            learning_rate=3e-3,
            learning_rate_end=5e-4,
            learning_rate_updates=12_000,
            batch_size=64,
            discount=0.995,
            target_tau=0.08,
            epsilon_end=0.15,
            epsilon_steps=5_000,
        ),
    ),
    "mspacman": Recipe(
        policy="mspacman",
        environment=EnvironmentSpec("ALE/MsPacman-v5", frames=4),
        loop=LoopConfig(
            steps=8_000_000,
            n_envs=64,
            life_loss_is_terminal=True,
            evaluate_every=200_000,
            selection_episodes=32,
            log_every=10_000,
            checkpoint_every_s=300.0,
        ),
        network=NetworkConfig(hidden_sizes=(512,), dueling=True, quantiles=51, mixed_precision=True),
        agent=DqnConfig(
            learning_rate=2e-4,
            learning_rate_end=5e-5,
            learning_rate_updates=35_000,
            adam_epsilon=1e-4,
            batch_size=128,
            discount=0.99,
            n_step=3,
            max_grad_norm=10.0,
            target_tau=1.0,
            target_period=125,
            epsilon_end=0.01,
            epsilon_steps=300_000,
        ),
        replay=ReplayConfig(
            replay_capacity=800_000, learning_starts=50_000, updates_per_vector_step=1, checkpoint_replay=False
        ),
        rewards=RewardConfig(reward_treatment="root", reward_scale=0.1),
        is_screens=True,
        threads=0,
    ),
}


def with_options(recipe: Recipe, options: Sequence[str]) -> Recipe:
    """The recipe with `name=value` options in place of its hyper-parameters.

    Raises:
        InvalidOption: there is no such hyper-parameter, or the value is not of its type.
    """
    owners = {field.name: name for name, config in recipe.configs.items() for field in dataclasses.fields(config)}
    changes: dict[str, dict[str, Any]] = {name: {} for name in recipe.configs}
    for option in options:
        name, separator, text = option.partition("=")
        if not separator or name not in owners:
            raise InvalidOption(f"expected name=value with a name among {', '.join(sorted(owners))}; got {option!r}")
        owner = owners[name]
        changes[owner][name] = _parse(name, text, typing.get_type_hints(type(recipe.configs[owner]))[name])
    configs = {name: dataclasses.replace(config, **changes[name]) for name, config in recipe.configs.items()}
    return dataclasses.replace(recipe, **configs)


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
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if typing.get_origin(kind) is tuple:
            return tuple(int(part) for part in text.split(",") if part)
        value = int(text.replace("_", "")) if kind is int else float(text)
        require(math.isfinite(value), name, "a finite number", text)
    except (KeyError, ValueError) as error:
        expected = "integers separated by commas" if typing.get_origin(kind) is tuple else kind.__name__
        raise InvalidOption(f"{name}: expected {expected}, got {text!r}") from error
    return value
