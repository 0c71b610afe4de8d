"""Environments by id, through Gymnasium: single, and vectorised."""

import contextlib
import difflib
import importlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers import FrameStackObservation
from numpy.typing import NDArray

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.training.environments import old_gym
from polserve.training.environments.beneath import Beneath, beneath, graph_layers, stack_length
from polserve.training.environments.checked import Checked, CheckedVec
from polserve.training.environments.faults import raised
from polserve.training.environments.makers import EnvMaker
from polserve.training.environments.rewards import with_paid_rewards
from polserve.training.environments.wrappers import check_keeps_no_statistics
from polserve.training.errors import InvalidOption, TrainingError, UnknownEnvironment, UnsupportedEnvironment

Array: TypeAlias = NDArray[Any]
Env: TypeAlias = gym.Env[Array, Any]
VecEnv: TypeAlias = VectorEnv[Array, Array, Array]

OWN_NAMESPACE = "polserve/"
"""Before the ids of environments that come with polserve."""
TASK_CATALOG = "polserve.training.tasks.catalog"
"""Knows environments that Gymnasium does not; a layer above, so that it is imported by name when one is asked for."""
OF_OLD_GYM = "move it to Gymnasium, or register it with gym and give --env gym:ID"
"""What to do about an environment of the unmaintained gym."""
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
    graph_wrappers: tuple[str, ...] = ()
    """Names of its wrappers whose work on observations the policy's graph does, from the innermost; it is played
    beneath them."""
    maker: EnvMaker | None = field(default=None, compare=False)
    """What makes the environment, called with the keyword arguments; None for what is registered under the id."""

    @property
    def kwargs_json(self) -> str:
        """The keyword arguments as a JSON object."""
        return json.dumps(dict(self.kwargs), sort_keys=True)

    def instead(self, environment_id: str) -> "EnvironmentSpec":
        """Environment of another id, without these keyword arguments; the same id keeps them, also after a module's."""
        is_same = environment_id == self.id or environment_id.endswith(f":{self.id}")
        return replace(self, id=environment_id, kwargs=self.kwargs if is_same else {})

    @property
    def registered(self) -> EnvSpec:
        """What Gymnasium makes the environment by: a registered specification, or one of the maker.

        Raises:
            UnknownEnvironment: the id is not registered, or the module that should register it cannot be imported.
        """
        if self.maker is not None:
            return EnvSpec(self.id, entry_point=self.maker)
        register(self)
        return old_gym.registered(self.id) if old_gym.is_old(self.id) else gym.registry[self.id]


def from_message(policy: pb.PolicySpec, module: str) -> EnvironmentSpec:
    """Environment that a policy's spec states.

    The module is the caller's to name: a spec that came over the network must not choose what is imported here.
    """
    message = policy.environment
    hint = f"the policy's spec names {message.module!r}" if message.module else ""
    kwargs = json.loads(message.kwargs_json or "{}")
    in_graph = tuple(message.graph_wrappers)
    return EnvironmentSpec(message.id, kwargs, module, policy.observation.frames, hint, in_graph)


def with_graph_wrappers(spec: EnvironmentSpec) -> EnvironmentSpec:
    """Environment beneath the wrappers that go into the graph of a policy that is trained there.

    Where the specification has a stack of frames already, it is the environment as it is.

    Raises:
        TrainingError: as `make_env`.
    """
    if spec.frames:
        return spec
    made = _made(spec)
    try:
        _check_spaces(spec, made)
        above = graph_layers(made)
    finally:
        with contextlib.suppress(Exception):  # what it raises harms nobody, as in Checked
            made.close()
    names = tuple(type(layer).__name__ for layer in above)
    return replace(spec, graph_wrappers=names, frames=stack_length(above))


def make_env(spec: EnvironmentSpec, render_mode: str | None = None) -> Env:
    """One environment, checked, whose observations are stacks where the spec has frames.

    Raises:
        UnknownEnvironment: the id is not registered, or the module that should register it cannot be imported.
        InvalidOption: the environment does not take the keyword arguments.
        UnsupportedEnvironment: it cannot be made, or keeps a part of the policy to itself.
    """
    return _prepared(_made(spec, render_mode), spec, is_info_kept=True)


def _made(spec: EnvironmentSpec, render_mode: str | None = None) -> Env:
    """Environment as Gymnasium makes it."""
    registered = spec.registered
    kwargs = {**spec.kwargs, **({"render_mode": render_mode} if render_mode else {})}  # which not every one takes
    try:
        return gym.make(registered, disable_env_checker=True, **kwargs)  # we check more, and at every step
    except TrainingError:
        raise
    except Exception as error:  # whatever an environment of the user's own raises
        raise _refused(spec, error) from error


def make_vec(spec: EnvironmentSpec, n: int, *, is_seeded_singly: bool = False) -> VecEnv:
    """`n` environments stepped together, checked; each is reset by the step after the one that ended its episode.

    Args:
        spec: which environment.
        n: how many.
        is_seeded_singly: step ordinary environments, so that an episode depends on its own seed alone. Otherwise
            the environment's vectorised implementation is used where it has one, which is faster.

    Raises:
        UnknownEnvironment: the id is not registered, or the module that should register it cannot be imported.
        InvalidOption: the environment does not take the keyword arguments.
        UnsupportedEnvironment: it cannot be made, resets in another way, or keeps a part of the policy to itself.
    """
    if is_seeded_singly or not has_vectorised(spec):
        return _together(spec, n)
    envs = _vectorised(spec, n)
    mode = envs.metadata.get("autoreset_mode")
    if mode is not AutoresetMode.NEXT_STEP:
        raise UnsupportedEnvironment(
            f"{spec.id}: expected a vector environment with metadata['autoreset_mode'] AutoresetMode.NEXT_STEP, got "
            f"{mode}; let it reset in the next step and say so there, or leave out its vector_entry_point"
        )
    if envs.num_envs != n:
        raise UnsupportedEnvironment(
            f"{spec.id}: expected a vector environment of {n}, got one of {envs.num_envs}; let its "
            "vector_entry_point make as many as num_envs says, or leave it out"
        )
    check_keeps_no_statistics(spec.id, envs)
    return CheckedVec(envs, spec.id)


def has_vectorised(spec: EnvironmentSpec) -> bool:
    """Whether `make_vec` may step a vectorised implementation, one that emits and takes what the ordinary one does."""
    registered = spec.registered
    entries = registered.vector_entry_point, registered.entry_point
    if entries[0] is None or registered.additional_wrappers or spec.frames or spec.graph_wrappers:
        return False
    return _are_alike(spec.id, spec.kwargs_json, spec.module, entries)


@cache
def _are_alike(environment_id: str, kwargs_json: str, module: str, _entries: tuple[object, object]) -> bool:
    """Whether both implementations have the same spaces; arguments that only the vectorised one takes ask for it."""
    spec = EnvironmentSpec(environment_id, json.loads(kwargs_json), module)
    try:
        env = make_env(spec)
    except InvalidOption:
        return True
    env.close()  # only one may exist at a time
    envs = _vectorised(spec, 1)
    alike = envs.single_observation_space == env.observation_space and envs.single_action_space == env.action_space
    envs.close()
    return alike


def _vectorised(spec: EnvironmentSpec, n: int) -> VecEnv:
    """Environment's vectorised implementation."""
    try:
        return gym.make_vec(spec.registered, n, "vector_entry_point", **spec.kwargs)
    except Exception as error:  # likewise
        raise _refused(spec, error) from error


def _together(spec: EnvironmentSpec, n: int) -> VecEnv:
    """`n` ordinary environments, stepped one after another."""
    made: list[gym.Wrapper[Array, Any, Array, Any]] = []

    def prepare(env: Env) -> gym.Wrapper[Array, Any, Array, Any]:
        made.append(_prepared(env, spec, is_info_kept=False))
        return made[-1]

    registered = spec.registered
    try:
        envs = gym.make_vec(registered, n, "sync", wrappers=[prepare], disable_env_checker=True, **spec.kwargs)
    except TrainingError:
        raise
    except Exception as error:  # likewise
        for env in made:
            env.close()
        refused = _refused(spec, error)
        if n > 1 and len(made) < n:
            hint = f"where {n} may not exist at a time, docs/own-environment.md says how to ask for fewer"
            refused = type(refused)(f"{refused}; {hint}")
        raise refused from error
    if len({id(env.unwrapped) for env in made}) < n:
        raise UnsupportedEnvironment(
            f"{spec.id}: expected {n} environments, and what makes them gave the same object again; make a new one in "
            "each call, or ask for one at a time: docs/own-environment.md says how"
        )
    return envs


def _prepared(env: Env, spec: EnvironmentSpec, *, is_info_kept: bool) -> gym.Wrapper[Array, Any, Array, Any]:
    """Put around the environment what we put around any: what passes wrappers by, the checks, and a stack of frames."""
    _check_spaces(spec, env)
    bare = beneath(spec.id, with_paid_rewards(env), spec.graph_wrappers)
    check_keeps_no_statistics(spec.id, bare, bare.above if isinstance(bare, Beneath) else ())
    checked = Checked(bare, spec.id, is_info_kept=is_info_kept)
    return _stacked(checked, spec.frames) if spec.frames else checked


def _stacked(env: Env, frames: int) -> gym.Wrapper[Array, Any, Array, Any]:
    """`env` with its `frames` latest observations in place of the last, the first one of an episode filling them."""
    return FrameStackObservation(env, frames, padding_type="reset")


def register(spec: EnvironmentSpec) -> None:
    """Make the environment's id known to Gymnasium.

    Raises:
        UnknownEnvironment: it cannot be registered.
    """
    if not spec.id:
        raise UnknownEnvironment(
            "no environment is named: a version that was imported without --env names none; give one with --env"
        )
    if spec.module:
        _import_module(spec)
    if old_gym.is_old(spec.id):
        old_gym.registered(spec.id)
        return
    if spec.id not in gym.registry:
        importlib.import_module(TASK_CATALOG).register_own(spec)
    if spec.id not in gym.registry:
        near = difflib.get_close_matches(spec.id, gym.registry, n=3, cutoff=0.5)
        asked = () if spec.module and near else ("give the module that registers it as --module",)
        hint = "; ".join((*asked, *([f"near it: {', '.join(near)}"] if near else ())))
        module, colon, name = spec.id.partition(":")
        hint = f"give it as --module {module} --env {name}" if colon else hint
        called = "if a callable makes it, give that in Python: as environment to train, as env to evaluate and promote"
        hint = hint if "-v" in spec.id else f"{hint}; {called}"
        hint = f"name the module that registers it with --module: {spec.module_hint}" if spec.module_hint else hint
        raise UnknownEnvironment(f"no environment {spec.id!r} is registered with Gymnasium; {hint}")


def _import_module(spec: EnvironmentSpec) -> None:
    """Import the module that registers the environment; raises UnknownEnvironment where that fails."""
    if (folder := str(Path.cwd())) not in sys.path[:1]:
        sys.path.insert(0, folder)  # an installed program's path lacks it; first, as `python -m` has it
    try:
        importlib.import_module(spec.module)
    except Exception as error:  # whatever a module of the user's own raises
        reason = f"{type(error).__name__}: {error}"
        raise UnknownEnvironment(
            f"module {spec.module!r}, which should register {spec.id}, cannot be imported ({reason}); "
            "run from the folder that holds it or put that folder on PYTHONPATH"
        ) from error


def _check_spaces(spec: EnvironmentSpec, env: Env) -> None:
    """Raise UnsupportedEnvironment where the environment has no spaces of Gymnasium's."""
    for name in ("observation_space", "action_space"):
        space = getattr(env, name, None)
        if not isinstance(space, gym.Space):
            got = f"{type(space).__module__}.{type(space).__qualname__}" if space is not None else "none"
            remedy = OF_OLD_GYM if got.startswith("gym.") else "set it in __init__"
            raise UnsupportedEnvironment(
                f"{spec.id}: {name}: expected a space of gymnasium.spaces, got {got}; {remedy}"
            )


def _refused(spec: EnvironmentSpec, error: Exception) -> InvalidOption | UnsupportedEnvironment:
    """Why Gymnasium could not make the environment."""
    reason = " ".join(str(error).split())
    if "unexpected keyword argument 'render_mode'" in reason:
        return UnsupportedEnvironment(
            f"{spec.id} cannot draw itself: its __init__ takes no render_mode; add it there, or leave out --gif"
        )
    if "sub-environment" in reason.lower():
        return UnsupportedEnvironment(f"{spec.id}: its instances differ in their spaces; give all of them the same")
    if isinstance(error, TypeError) and ("unexpected keyword argument" in reason or "required" in reason):
        said = reason.split(" was raised from the environment creator")[0]  # what follows repeats the arguments
        return InvalidOption(f"{spec.id} does not take the arguments {spec.kwargs_json}: {said}; see --env-kwargs")
    if "gymnasium.Env" in reason:
        return UnsupportedEnvironment(f"{spec.id} cannot be made: {reason}; {OF_OLD_GYM}")
    if isinstance(error, (gym.error.Error, ImportError)):
        return UnsupportedEnvironment(f"{spec.id} cannot be made: {reason}")
    cause = error.__cause__ if isinstance(error.__cause__, TypeError) else error  # Gymnasium raises those anew
    return UnsupportedEnvironment(str(raised(spec.id, "__init__", cause)))
