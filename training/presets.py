"""Recipes: an environment, an algorithm and its hyper-parameters, under a name."""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.agents.dqn import DqnConfig
from training.envs import EnvironmentSpec
from training.errors import InvalidOption, require
from training.loop import LoopConfig


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that a training run depends on but its seed."""

    policy: str
    """Name under which versions are registered."""
    environment: EnvironmentSpec
    loop: LoopConfig
    agent: DqnConfig
    threads: int = 1
    """CPU threads of torch; small networks are faster with one."""

    def __post_init__(self) -> None:
        """Check what the two configurations ask of each other; raises InvalidOption."""
        least = (self.agent.n_step + 1) * self.loop.n_envs
        capacity = self.loop.replay_capacity
        require(
            capacity >= least + self.loop.n_envs, "replay_capacity", f"at least {least + self.loop.n_envs}", capacity
        )
        require(self.loop.learning_starts >= least, "learning_starts", f"at least {least}", self.loop.learning_starts)

    def params(self) -> dict[str, object]:
        """Every setting by name."""
        return {
            "environment": self.environment.id,
            "environment_kwargs": self.environment.kwargs_json,
            **dataclasses.asdict(self.loop),
            **dataclasses.asdict(self.agent),
        }


PRESETS: Mapping[str, Recipe] = {
    # Found by a random search; what mattered: a high learning rate that falls, a long horizon, and enough exploration
    # left for the rare states near the track's ends. benchmarks/cartpole.py shows what it reaches.
    "cartpole": Recipe(
        policy="cartpole",
        environment=EnvironmentSpec("CartPole-v1"),
        loop=LoopConfig(steps=200_000, n_envs=16, updates_per_vector_step=4, evaluate_every=2_000, stop_return=500.0),
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
}


def with_options(recipe: Recipe, options: Sequence[str]) -> Recipe:
    """The recipe with `name=value` options in place of its hyper-parameters.

    Raises:
        InvalidOption: there is no such hyper-parameter, or the value is not of its type.
    """
    loop: dict[str, Any] = {}
    agent: dict[str, Any] = {}
    fields = {
        **{field.name: (agent, recipe.agent) for field in dataclasses.fields(recipe.agent)},
        **{field.name: (loop, recipe.loop) for field in dataclasses.fields(recipe.loop)},
    }
    for option in options:
        name, separator, text = option.partition("=")
        if not separator or name not in fields:
            raise InvalidOption(f"expected name=value with a name among {', '.join(sorted(fields))}; got {option!r}")
        changes, config = fields[name]
        changes[name] = _parse(name, text, typing.get_type_hints(type(config))[name])
    return dataclasses.replace(
        recipe, loop=dataclasses.replace(recipe.loop, **loop), agent=dataclasses.replace(recipe.agent, **agent)
    )


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
