"""What `polserve train --list` prints: the presets, and the hyper-parameters that --set takes."""

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from typing import get_args

from polserve.training.environments.making import EnvironmentSpec
from polserve.training.learning import actor_critic_hyperparameters, hyperparameters
from polserve.training.learning.actor_critic_hyperparameters import DdpgConfig, SacConfig
from polserve.training.learning.hyperparameters import PqnConfig
from polserve.training.runs.defaults import Algorithm, defaults_of
from polserve.training.runs.presets import PRESETS
from polserve.training.runs.recipe import Recipe

WIDTH = 78
INDENT = 6


def listing(recipe: Recipe | None = None) -> Iterator[str]:
    """Lines with the presets and every hyper-parameter's default, or with one recipe's own values."""
    if recipe is not None:
        yield f"{recipe.policy}: {_algorithm(recipe)} in {recipe.environment.id}. --set takes, with these values:"
        yield from _groups(recipe)
        yield from _frames(recipe.environment.frames)
        return
    yield "Presets:"
    width = max(map(len, PRESETS))
    for name, preset in PRESETS.items():
        yield f"  {name:<{width}}  {_algorithm(preset)} in {preset.environment.id}"
    yield ""
    yield "--set NAME=VALUE takes, with the defaults of --algo (`polserve train PRESET --list` has a preset's):"
    recipes = {name: _bare(name) for name in get_args(Algorithm)}
    for name in dict.fromkeys(name for bare in recipes.values() for name in bare.configs if name != "agent"):
        yield from _shared_group(name, {algo: bare for algo, bare in recipes.items() if name in bare.configs})
    for name, bare in recipes.items():
        yield from _lines(f"agent, --algo {name}", type(bare.agent), _values(bare, "agent"))
    yield from _frames(0)


def algorithm_listing(algorithm: str, *, is_env_given: bool = False) -> Iterator[str]:
    """Lines with what --set takes for an algorithm, in an environment of which nothing is known."""
    hint = "" if is_env_given else ": add --env"
    yield f"--set NAME=VALUE takes, with the defaults of --algo {algorithm} (Atari games have others{hint}):"
    yield from _groups(_bare(algorithm))
    yield from _frames(0)


def _bare(algorithm: str) -> Recipe:
    return defaults_of(algorithm, EnvironmentSpec(""), algorithm)  # type: ignore[arg-type]


def _frames(frames: int) -> Iterator[str]:
    """Lines on the setting that belongs to the environment."""
    yield ""
    yield "  observations:"
    yield f"    frames={frames}"
    yield f"{' ' * INDENT}Latest observations that the network sees as a stack; 0 for the latest alone."


def _algorithm(recipe: Recipe) -> str:
    if isinstance(recipe.agent, DdpgConfig):
        return "TD3" if recipe.agent.twin_critics else "DDPG"
    if isinstance(recipe.agent, SacConfig):
        return "SAC"
    if isinstance(recipe.agent, PqnConfig):
        return "PQN"
    return "QR-DQN" if recipe.network.quantiles > 1 else "DQN"


def _shared_group(name: str, recipes: Mapping[str, Recipe]) -> Iterator[str]:
    """Lines with the settings that several algorithms have, and where not all have the same one, whose is which."""
    algorithms: dict[str, dict[str, list[str]]] = {}
    for algorithm, recipe in recipes.items():
        for setting, value in _values(recipe, name).items():
            algorithms.setdefault(setting, {}).setdefault(value, []).append(algorithm)
    values = {
        setting: next(iter(users))
        if list(users.values()) == [list(recipes)]
        else "; ".join(f"{value} for {', '.join(each)}" for value, each in users.items())
        for setting, users in algorithms.items()
    }
    yield from _lines(name, type(next(iter(recipes.values())).configs[name]), values)


def _groups(recipe: Recipe) -> Iterator[str]:
    """Lines with all settings that a recipe's agent uses."""
    for name, config in recipe.configs.items():
        yield from _lines(name, type(config), _values(recipe, name))


def _values(recipe: Recipe, name: str) -> dict[str, str]:
    """Values of the settings of one group that the recipe's agent uses, in the form that --set takes."""
    return {setting: _text(getattr(recipe.configs[name], setting)) for setting in recipe.settings[name]}


def _lines(name: str, kind: type, values: Mapping[str, str]) -> Iterator[str]:
    """Lines of a group: each setting with its value, and what it does."""
    told = _docstrings()[kind.__name__]
    yield ""
    yield f"  {name}:"
    for setting, value in values.items():
        yield f"    {setting}={value}"
        yield from textwrap.wrap(
            told[setting], WIDTH, initial_indent=" " * INDENT, subsequent_indent=" " * INDENT, break_on_hyphens=False
        )


def _text(value: object) -> str:
    """Value in the form that --set takes."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def _docstrings() -> dict[str, dict[str, str]]:
    """Docstrings of fields by class and name; Python does not keep them at run time."""
    modules = hyperparameters, actor_critic_hyperparameters
    parsed = [node for module in modules for node in ast.parse(inspect.getsource(module)).body]
    classes = [node for node in parsed if isinstance(node, ast.ClassDef)]
    return {node.name: dict(_fields(node)) for node in classes}


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, told in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            text = told.value.value if isinstance(told, ast.Expr) and isinstance(told.value, ast.Constant) else ""
            yield field.target.id, " ".join(str(text).split())
