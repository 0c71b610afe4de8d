"""Environments by id, through Gymnasium: single, and vectorised."""

import contextlib
import difflib
import importlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers import FrameStackObservation
from numpy.typing import NDArray

from protos.polserve.v1 import policy_pb2 as pb
from protos.tensors import DTYPES
from training.errors import InvalidOption, UnknownEnvironment, UnsupportedEnvironment

Array: TypeAlias = NDArray[Any]
Env: TypeAlias = gym.Env[Array, Any]
VecEnv: TypeAlias = VectorEnv[Array, Array, Array]

OWN_NAMESPACE = "polserve/"
OWN_MODULE = "training.adbudget.registration"
"""Registers the environments of budgets when they are asked for: they import more than most runs need."""
ATARI_PACKAGE = "ale_py"
"""Registers Atari games; an optional extra."""
ATARI_NAMESPACE = "ALE/"
SELECTION_FIRST_SEED = 1_000_000_000
"""Seeds from here on choose the best checkpoint; training seeds lie below."""
EVALUATION_FIRST_SEED = 2_000_000_000
"""Seeds from here on are for final evaluation: no training or selection episode used them."""


@dataclass(frozen=True, slots=True)
class EnvironmentSpec:
    """Which environment: what `gymnasium.make` takes, and the module that registers the id."""

    id: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    module: str = ""
    frames: int = 0
    """Length of the stack of latest observations that a policy sees; 0 for the latest one alone."""
    module_hint: str = field(default="", compare=False)
    """Where the module's name can be learned, for the error that it is missing."""

    @property
    def kwargs_json(self) -> str:
        """The keyword arguments as a JSON object."""
        return json.dumps(dict(self.kwargs), sort_keys=True)


def from_message(policy: pb.PolicySpec, module: str) -> EnvironmentSpec:
    """The environment that a policy's spec states.

    The module is the caller's to name: a spec that came over the network must not choose what is imported here.
    """
    message = policy.environment
    hint = f"the policy's spec names {message.module!r}" if message.module else ""
    kwargs = json.loads(message.kwargs_json or "{}")
    return EnvironmentSpec(message.id, kwargs, module, policy.observation.frames, hint)


def make_env(spec: EnvironmentSpec, render_mode: str | None = None) -> Env:
    """One environment, whose observations are stacks where the spec has frames.

    Raises:
        UnknownEnvironment: the id is not registered, or the module that should register it cannot be imported.
        InvalidOption: the environment does not take the keyword arguments.
        UnsupportedEnvironment: it lacks a package, or resets in another way.
    """
    register(spec)
    try:
        env = gym.make(spec.id, render_mode=render_mode, **spec.kwargs)
        return _stacked(env, spec.frames) if spec.frames else env
    except (TypeError, gym.error.Error) as error:
        raise _refused(spec, error) from error


def make_vec(spec: EnvironmentSpec, n: int, *, is_seeded_singly: bool = False) -> VecEnv:
    """`n` environments stepped together; each is reset by the step after the one that ended its episode.

    Args:
        spec: which environment.
        n: how many.
        is_seeded_singly: step ordinary environments, so that an episode depends on its own seed alone. Otherwise
            the environment's vectorised implementation is used where it has one, which is faster.

    Raises:
        UnknownEnvironment: the id is not registered, or the module that should register it cannot be imported.
        InvalidOption: the environment does not take the keyword arguments.
        UnsupportedEnvironment: it lacks a package, or resets in another way.
    """
    register(spec)
    try:
        envs: VecEnv = gym.make_vec(
            spec.id,
            num_envs=n,
            vectorization_mode="sync" if is_seeded_singly or spec.frames else None,
            wrappers=[lambda env: _stacked(env, spec.frames)] if spec.frames else None,
            **spec.kwargs,
        )
    except (TypeError, gym.error.Error) as error:
        raise _refused(spec, error) from error
    mode = envs.metadata.get("autoreset_mode")
    if mode is not AutoresetMode.NEXT_STEP:
        raise UnsupportedEnvironment(
            f"{spec.id}: expected a vector environment with autoreset_mode NEXT_STEP, got {mode}; "
            "leave out its vector_entry_point or set metadata['autoreset_mode']"
        )
    return envs


def observation_box(space: gym.Space[Any], environment_id: str) -> Box:
    """The observation space, which must be a Box of a dtype that a policy version can carry.

    Raises:
        UnsupportedEnvironment: it is not.
    """
    carried = ("float32", "float64", "uint8", "int32", "int64", "bool")
    if not isinstance(space, Box) or space.dtype.name not in carried:
        raise UnsupportedEnvironment(
            f"{environment_id}: expected observations in a Box of {', '.join(carried)}, got {space}; "
            "wrap the environment, for example in gymnasium.wrappers.FlattenObservation"
        )
    return space


def discrete_actions(space: gym.Space[Any], environment_id: str) -> int:
    """The number of actions of a Discrete space that starts at 0.

    Raises:
        UnsupportedEnvironment: the space is another.
    """
    if not isinstance(space, Discrete) or space.start != 0:
        raise UnsupportedEnvironment(
            f"{environment_id}: DQN needs actions in Discrete(n) starting at 0, got {space}; "
            "wrap the environment, for example in gymnasium.wrappers.TransformAction"
        )
    return int(space.n)


def continuous_actions(space: gym.Space[Any], environment_id: str) -> Box:
    """The space, which must be a Box of one axis with finite bounds.

    Raises:
        UnsupportedEnvironment: the space is another.
    """
    is_fine = isinstance(space, Box) and len(space.shape) == 1 and space.is_bounded() and space.dtype.kind == "f"
    if not isinstance(space, Box) or not is_fine or not (space.low < space.high).all():
        raise UnsupportedEnvironment(
            f"{environment_id}: DDPG needs actions in a Box (k,) of floats, finite, low < high; got {space}; "
            "wrap the environment, for example in gymnasium.wrappers.RescaleAction, or train with --algo dqn"
        )
    return space


def check_fits(spec: EnvironmentSpec, policy: pb.PolicySpec) -> None:
    """Raise UnsupportedEnvironment where a policy cannot play in the environment: another observation or action."""
    env = make_env(spec)
    env.close()
    box, actions = observation_box(env.observation_space, spec.id), env.action_space
    dtype, shape = DTYPES[policy.observation.dtype].name, tuple(policy.observation.shape)
    n_actions = policy.action.discrete.n
    has_actions = actions.n == n_actions if isinstance(actions, Discrete) else not n_actions
    if (box.dtype.name, box.shape) != (dtype, shape) or not has_actions:
        wanted = f"{dtype} {shape} and {f'Discrete({n_actions})' if n_actions else 'Box actions'}"
        raise UnsupportedEnvironment(
            f"{policy.name} cannot play {spec.id}: expected {wanted}, got {box.dtype.name} {box.shape} and {actions}"
        )


def component_bounds(box: Box) -> tuple[list[float], list[float]]:
    """Lowest and highest value, one for all components when they agree, else one each (flattened)."""
    low, high = np.asarray(box.low, np.float64).ravel(), np.asarray(box.high, np.float64).ravel()
    if low.size and (low == low[0]).all() and (high == high[0]).all():
        return [float(low[0])], [float(high[0])]
    return low.tolist(), high.tolist()


def _stacked(env: Env, frames: int) -> gym.Wrapper[Array, Any, Array, Any]:
    """`env` with its `frames` latest observations in place of the last, the first one of an episode filling them."""
    return FrameStackObservation(env, frames, padding_type="reset")


def register(spec: EnvironmentSpec) -> None:
    """The environment's id is known to Gymnasium.

    Raises:
        UnknownEnvironment: it cannot be registered.
    """
    if spec.module:
        if (folder := str(Path.cwd())) not in sys.path:
            sys.path.append(folder)  # an installed program's path lacks it
        try:
            importlib.import_module(spec.module)
        except Exception as error:  # whatever a module of the user's own raises
            reason = f"{type(error).__name__}: {error}"
            raise UnknownEnvironment(
                f"module {spec.module!r}, which should register {spec.id}, cannot be imported ({reason}); "
                "run from the folder that holds it or put that folder on PYTHONPATH"
            ) from error
    if spec.id.startswith(OWN_NAMESPACE):
        importlib.import_module(OWN_MODULE)
    if spec.id not in gym.registry:
        _register_games()
    if spec.id not in gym.registry:
        near = difflib.get_close_matches(spec.id, gym.registry, n=3, cutoff=0.5)
        if (spec.frames or spec.id.startswith(ATARI_NAMESPACE)) and ATARI_PACKAGE not in sys.modules:
            install = "pip install 'polserve[training,atari]'"
            raise UnknownEnvironment(f"{spec.id} is an Atari game and {ATARI_PACKAGE} is not installed: {install}")
        hint = f"near it: {', '.join(near)}" if near else "name the module that registers it with --module"
        hint = f"name the module that registers it with --module: {spec.module_hint}" if spec.module_hint else hint
        raise UnknownEnvironment(f"no environment {spec.id!r} is registered with Gymnasium; {hint}")


def _register_games() -> None:
    """Atari games are known to Gymnasium, where the package is installed."""
    with contextlib.suppress(ImportError):
        ale = importlib.import_module(ATARI_PACKAGE)
        ale.ALEInterface.setLoggerMode(ale.LoggerMode.Error)  # else every game prints a banner
        gym.register_envs(ale)


def _refused(spec: EnvironmentSpec, error: Exception) -> InvalidOption | UnsupportedEnvironment:
    if isinstance(error, TypeError):
        return InvalidOption(f"{spec.id} does not take the arguments {spec.kwargs_json}: {error}")
    return UnsupportedEnvironment(f"{spec.id} cannot be made: {error}")
