"""`export`: a torch module in hand becomes a policy version."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, get_args

import gymnasium as gym
from torch import nn

from polserve.protos.shared.names import ACTION, OBSERVATION, VALUES
from polserve.training.environments.limits import EVALUATION_ENVS, EVALUATION_EPISODES, MAX_EVALUATION_STEPS
from polserve.training.environments.makers import EnvMaker
from polserve.training.errors import require, require_given, require_json, require_kind, require_whole
from polserve.training.evaluation.game_progress import shown
from polserve.training.imports.importing import import_policy
from polserve.training.imports.modules.finishing import Gives
from polserve.training.imports.modules.importer import ModuleOptions, read_module
from polserve.training.imports.publishing import ImportedVersion
from polserve.training.imports.request import ImportRequest
from polserve.training.wording import naming_arguments


@naming_arguments()
def export(  # noqa: PLR0913 - keywords of a function that notebooks call
    network: nn.Module,
    *,
    env: str | EnvMaker = "",
    gives: Gives | None = None,
    name: str | None = None,
    algorithm: str = "torch",
    observation_space: gym.Space[Any] | None = None,
    action_space: gym.Space[Any] | None = None,
    frames: int = 0,
    module: str = "",
    env_kwargs: Mapping[str, Any] | None = None,
    episodes: int = EVALUATION_EPISODES,
    max_steps: int = MAX_EVALUATION_STEPS,
    envs: int = EVALUATION_ENVS,
    folder: str | os.PathLike[str] | None = None,
    tracking_uri: str | None = None,
    settings: Mapping[str, object] | None = None,
    states: Mapping[str, tuple[int, ...]] | None = None,
    progress: bool = True,
) -> ImportedVersion:
    """Make a policy version of a torch module: exported, compared with the module, evaluated, registered.

    The module takes observations (n, *shape) of the environment's dtype, float64 as float32; parts of a Dict or a Tuple
    come in one row, in the order of the space. What its training did to observations belongs into it. The module itself
    is not changed: a copy of it is moved to the CPU and put into evaluation mode.

    Args:
        network: the module.
        env: Gymnasium id of the environment that it was trained in, or a callable that makes it, such as its class;
            "" for none.
        gives: "actions" as the environment takes them, or a tuple of discrete actions and their values; "values" or
            "logits" (n, actions), of which the highest is chosen (values are served too); "means" (n, k), which are cut
            off at the bounds of the actions; or "squashed" (n, k), which are scaled from [-1, 1] to them. None takes
            whole numbers for actions, a score for each discrete action for logits, and other floats for actions.
        name: the policy's name; None for one after the environment, or after the module's class.
        algorithm: what trained it, as the spec names it.
        observation_space: space of one observation, or of one frame of a stack, where no environment tells it.
        action_space: space of the actions, likewise.
        frames: length of the stack of frames that the module takes, the first axis of an observation; 0 for none.
        module: Python module that registers the id.
        env_kwargs: keyword arguments of the environment.
        episodes: evaluation episodes, 2 or more.
        max_steps: steps after which an evaluation episode is cut off.
        envs: the most environments that exist at a time; 1 where only one may.
        folder: folder of policies that the version is written into; None to register it in MLflow.
        tracking_uri: the MLflow store; None for that of MLFLOW_TRACKING_URI, or ./mlflow.db.
        settings: settings of the training by name, which the spec and the MLflow run keep.
        states: of a recurrent module, the shape of each state by name, for one observation: it takes them after the
            observations, (n, *shape) float32 each, and gives the next ones last. They begin as zeros.
        progress: whether a bar is shown over the episodes and notes are printed.

    Returns:
        The version, with its evaluation.

    Raises:
        InvalidOption: an argument is none that can be taken.
        ImportRefused: the module does not take the observations, or does not give such actions.
        ExportRefused: it cannot be exported, or its graph answers otherwise.
        RegistryError: the MLflow store does not answer.
    """
    require_kind("a torch.nn.Module", nn.Module, network=network)
    require_kind("a space of gymnasium", gym.Space, observation_space=observation_space, action_space=action_space)
    require_given(env=env, module=module, algorithm=algorithm, frames=frames)
    require_given(episodes=episodes, max_steps=max_steps, envs=envs)
    require_kind("text", str, name=name, module=module, algorithm=algorithm, tracking_uri=tracking_uri)
    require_kind("a mapping by name", Mapping, env_kwargs=env_kwargs, settings=settings)
    require_json(env_kwargs=env_kwargs)
    require_kind("a path", (str, os.PathLike), folder=folder)
    require_whole(episodes=episodes, max_steps=max_steps, envs=envs, frames=frames)
    require(gives is None or gives in get_args(Gives), "gives", " or ".join(get_args(Gives)), repr(gives))
    require(frames >= 0, "frames", "0 or more", frames)
    require(isinstance(env, str) or callable(env), "env", "a Gymnasium id or what makes the environment", repr(env))
    _check_states(states)
    request = ImportRequest(
        env=env if isinstance(env, str) else "",
        maker=None if isinstance(env, str) else env,
        module=module,
        env_kwargs=env_kwargs or {},
        name=name,
        episodes=episodes,
        max_steps=max_steps,
        envs=envs,
        folder=None if folder is None else Path(folder),
        tracking_uri=tracking_uri,
    )
    options = ModuleOptions(gives, algorithm, observation_space, action_space, frames, settings or {}, states or {})
    return import_policy(partial(read_module, network, options), request, shown(progress))


def _check_states(states: Mapping[str, tuple[int, ...]] | None) -> None:
    """Raise InvalidOption where the states are no names with shapes."""
    expected = "names with the shape of each, such as {'hidden': (64,)}"
    require_kind(expected, Mapping, states=states)
    for name, shape in (states or {}).items():
        is_shape = isinstance(shape, tuple) and all(isinstance(extent, int) and extent > 0 for extent in shape)
        is_free = isinstance(name, str) and name.isidentifier() and name not in {OBSERVATION, ACTION, VALUES}
        require(is_shape and is_free, "states", expected, f"{name!r}: {shape!r}")
