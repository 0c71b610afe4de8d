"""What a person asks of a training run, made into a recipe; the same for the command and the function."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from polserve.training.environments.inspection import EnvironmentFacts
from polserve.training.environments.makers import MAKER_ID, EnvMaker, has_own_name, maker_name, require_maker
from polserve.training.environments.making import EnvironmentSpec
from polserve.training.environments.old_gym import PREFIX, split_module
from polserve.training.errors import InvalidOption, require
from polserve.training.registry.names import policy_name_from
from polserve.training.runs import folder as run_folder
from polserve.training.runs.defaults import Algorithm, recipe_for
from polserve.training.runs.preflight import inspect_for
from polserve.training.runs.presets import PRESETS
from polserve.training.runs.recipe import Recipe, with_options
from polserve.training.tasks.task import Narrator, TaskOptions


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What to train, by name or by what makes the environment, and what differs from the defaults."""

    environment: str | EnvMaker
    """A preset, a Gymnasium id (with `algo`), or a callable that makes the environment (with `algo`)."""
    algo: str | None = None
    module: str = ""
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    seed: int = 0
    options: Sequence[str] = ()
    """Hyper-parameters as name=value."""
    threads: int | None = None
    data: Path | None = None
    """Records that the environment is made from, for a task that takes them."""
    curves: Path | None = None
    """Response curves that the environment is made from, likewise."""
    target_roas: float | None = None
    target_marginal: float | None = None
    lift: Path | None = None
    """Experiments that the records are read together with."""

    @property
    def task_options(self) -> TaskOptions:
        """What is asked of the task beside its environment."""
        targets = {"target_roas": self.target_roas, "target_marginal": self.target_marginal}
        return TaskOptions(
            self.data, self.curves, **targets, given=dict(self.env_kwargs), seed=self.seed, lift=self.lift
        )

    @property
    def is_configured(self) -> bool:
        """Whether the task makes the environment from `task_options`."""
        return bool(self.task_options.asks)

    def recipe(self) -> Recipe:
        """Make the recipe, without looking at the environment or the data.

        Raises:
            InvalidOption: an argument is none that can be taken, or does not go with another.
        """
        recipe = self._preset() if self._is_preset else self._own()
        recipe = with_options(recipe, self.options)
        if self.threads is not None:
            require(self.threads >= 0, "threads", "0 for all cores, or their number", self.threads)
            recipe = dataclasses.replace(recipe, threads=self.threads)
        require(self.lift is None or self.data is not None, "lift", "lift tests beside data", f"{self.lift} alone")
        if self.is_configured and not recipe.task.data_kind:
            _refuse_data(self.environment, self.task_options.asks)
        return recipe

    def configured(self, recipe: Recipe, narrator: Narrator) -> tuple[Recipe, EnvironmentFacts]:
        """Make the recipe for the environment that the task's options describe; return what that shows, too.

        They do not tell all: `env_kwargs` may.

        Raises:
            TrainingError: a file cannot be read, or does not tell enough.
        """
        task, environment = recipe.task.configure(recipe.environment, self.task_options, narrator)
        recipe = dataclasses.replace(recipe, environment=environment, chosen_task=task)
        return recipe, inspect_for(recipe)

    def default_folder(self, policy: str, *, is_resumed: bool) -> Path:
        """Folder of the run, where none is given.

        A run that is resumed may have begun without `name`, or with a version that named lambdas otherwise.
        """
        names = [policy]
        if is_resumed and self.name is not None:
            names.append(dataclasses.replace(self, name=None).recipe().policy)
        if is_resumed and callable(self.environment) and not has_own_name(self.environment):
            names.append(name_after(MAKER_ID))
        folders = [run_folder.default_folder(name, self.seed) for name in names]
        return next(filter(run_folder.has_checkpoint, folders), folders[0])

    @property
    def _is_preset(self) -> bool:
        """Whether a preset is meant: an id needs an algorithm beside it."""
        return isinstance(self.environment, str) and (self.environment in PRESETS or self.algo is None)

    def _preset(self) -> Recipe:
        preset = str(self.environment)
        if preset not in PRESETS:
            raise InvalidOption(
                f"environment: expected a preset ({', '.join(PRESETS)}), or an environment's id together with algo "
                f"({', '.join(get_args(Algorithm))}); got {preset!r} alone"
            )
        recipe = dataclasses.replace(PRESETS[preset], policy=self.name or preset)
        kwargs = {} if self.is_configured else dict(self.env_kwargs)
        if self.algo or self.module or (kwargs and not recipe.task.takes_kwargs):
            raise InvalidOption(
                f"the preset {preset} fixes algorithm and environment; leave out algo, module and env_kwargs"
            )
        environment = dataclasses.replace(recipe.environment, kwargs=kwargs or recipe.environment.kwargs)
        return dataclasses.replace(recipe, environment=environment)

    def _own(self) -> Recipe:
        algorithms = get_args(Algorithm)
        require(self.algo in algorithms, "algo", " or ".join(algorithms), self.algo)
        environment = self._spec()
        return recipe_for(self.algo, environment, self.name or name_after(environment.id))  # type: ignore[arg-type]

    def _spec(self) -> EnvironmentSpec:
        kwargs = {} if self.is_configured else dict(self.env_kwargs)
        if isinstance(self.environment, str):
            module, name = (self.module, self.environment) if self.module else split_module(self.environment)
            return EnvironmentSpec(name, kwargs, module)
        expected = "a preset, a Gymnasium id or a callable that makes the environment"
        require_maker(self.environment, "environment", expected)
        return EnvironmentSpec(maker_name(self.environment, kwargs), kwargs, maker=self.environment)


def name_after(environment_id: str) -> str:
    """Policy's name from an environment's id: what comes after a slash, in lower case, with the version in it."""
    return policy_name_from(environment_id.removeprefix(PREFIX).rsplit("/", 1)[-1]) or "policy"


def as_settings(options: Mapping[str, object]) -> list[str]:
    """Write hyper-parameters by name as name=value."""
    return [
        f"{name}={','.join(str(part) for part in value) if isinstance(value, (tuple, list)) else value}"
        for name, value in options.items()
    ]


def _refuse_data(environment: object, asked: Sequence[str]) -> None:
    from polserve.training.tasks.catalog import TASKS

    takers = " or ".join(f"{task.data_kind}, for {task.name}" for task in TASKS if task.data_kind)
    what = "data is" if "data" in asked else f"{', '.join(asked)}: such options go with"
    raise InvalidOption(f"{what} {takers}; got it for {environment}: leave it out")
