"""Environments of the unmaintained gym, as Gymnasium's: `gym:CartPole-v1` is what gym registers as CartPole-v1.

Both of its APIs are known: that of 0.26, and that before, where `step` returns four values and `reset` an observation
alone. What an environment takes and returns tells which one it has, since gym 0.26 registers old ones too; Shimmy's
wrappers for gym have to be told. gym's own time limit, order check and checker are taken off: Gymnasium's and ours are
put in their place, and gym's checker does not work with NumPy 2.
"""

import importlib
import inspect
from functools import partial
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

from polserve.training.environments.old_gym_spaces import converted
from polserve.training.errors import UnknownEnvironment, UnsupportedEnvironment

PREFIX = "gym:"
"""Before the ids of environments that gym registers."""
INSTALL = "pip install 'polserve[training,gym]'"
TIME_LIMIT = "TimeLimit.truncated"
"""Key in an old step's info, true where a time limit ended the episode."""
TIME_LIMIT_WRAPPER = "TimeLimit"
REPLACED = (TIME_LIMIT_WRAPPER, "OrderEnforcing", "PassiveEnvChecker")
"""Wrappers that gym puts around what it makes, and that are ours to put."""


class OldGym(gymnasium.Env[Any, Any]):
    """An environment of gym as one of Gymnasium."""

    def __init__(self, old: Any, environment_id: str, render_mode: str | None = None) -> None:
        """Wrap `old`, which draws itself by the mode that it was made with, or is told."""
        self.old = old
        self._id = environment_id
        self.observation_space = converted(old.observation_space, environment_id, "observation_space")
        self.action_space = converted(old.action_space, environment_id, "action_space")
        told: dict[str, Any] = dict(old.metadata or {})
        self.metadata = {**told, "render_modes": list(told.get("render_modes", told.get("render.modes", [])))}
        self.render_mode = render_mode
        takes = _parameters(old.unwrapped.reset)
        self._takes_seed, self._takes_options = (name in takes or "**" in takes for name in ("seed", "options"))
        self._is_told_mode = "mode" in _parameters(old.unwrapped.render)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode, by whichever of the two APIs it has."""
        super().reset(seed=seed)
        kwargs: dict[str, Any] = {}
        if seed is not None and self._takes_seed:
            kwargs["seed"] = seed
        elif seed is not None and hasattr(self.old, "seed"):
            self.old.seed(seed)
        if options is not None and self._takes_options:
            kwargs["options"] = options
        result = self.old.reset(**kwargs)
        is_pair = isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)  # noqa: PLR2004 - a pair
        is_observation = isinstance(self.observation_space, gymnasium.spaces.Tuple) and not self._takes_seed
        return (result[0], result[1]) if is_pair and not is_observation else (result, {})

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step; tell a truncation from a termination by the info, where the environment tells only that it is done."""
        result = self.old.step(action)
        if len(result) != 4:  # noqa: PLR2004 - values of the API before 0.26
            return result  # type: ignore[no-any-return]
        observation, reward, done, info = result
        truncated = bool(done) and bool(info.get(TIME_LIMIT, False))
        return observation, reward, bool(done) and not truncated, truncated, info

    def render(self) -> Any:
        """Draw the environment by its render mode; raises UnsupportedEnvironment where a package for it is missing."""
        try:
            return self.old.render(mode=self.render_mode) if self._is_told_mode else self.old.render()
        except ImportError as error:
            reason = " ".join(str(error).split())
            raise UnsupportedEnvironment(f"{self._id} cannot draw itself: {reason}; or leave out --gif") from error

    def close(self) -> None:
        """Close the environment."""
        self.old.close()


def is_old(environment_id: str) -> bool:
    """Whether an id is of an environment that gym registers."""
    return environment_id.startswith(PREFIX)


def split_module(environment_id: str) -> tuple[str, str]:
    """Split module:id, as `gymnasium.make` takes it, into the module, "" for none, and the id, gym's own included."""
    prefix = PREFIX if is_old(environment_id) else ""
    module, _, name = environment_id.removeprefix(prefix).rpartition(":")
    return module, prefix + name


def registered(environment_id: str) -> EnvSpec:
    """Return what Gymnasium makes an environment of gym by.

    Raises:
        UnknownEnvironment: gym is not installed, or registers no such id.
    """
    gym = _gym(environment_id)
    name = environment_id.removeprefix(PREFIX)
    try:
        known = gym.spec(name)
    except gym.error.Error as error:
        raise UnknownEnvironment(
            f"no environment {name!r} is registered with gym {gym.__version__}: {' '.join(str(error).split())}; name "
            "the module that registers it with --module"
        ) from error
    limit = known.max_episode_steps
    return EnvSpec(environment_id, partial(_make, environment_id, limit), max_episode_steps=limit)


def _make(environment_id: str, limit: int | None, render_mode: str | None = None, **kwargs: Any) -> OldGym:
    """Make an environment for which gym registers the time limit `limit`."""
    gym = _gym(environment_id)
    name, known = environment_id.removeprefix(PREFIX), _parameters(gym.make)
    quiet = {"disable_env_checker": True} if "disable_env_checker" in known else {}
    mode = {"render_mode": render_mode} if render_mode and quiet else {}  # 0.26; the one before draws as it is told
    try:
        made = gym.make(name, **quiet, **mode, **kwargs)
    except TypeError as error:
        if not mode or "'render_mode'" not in str(error):
            raise
        made = gym.make(name, **quiet, **kwargs)  # an environment of the old API, which draws as it is told
    except gym.error.Error as error:
        raise UnsupportedEnvironment(f"{environment_id} cannot be made: {' '.join(str(error).split())}") from error
    return OldGym(_bare(made, is_limited=limit is not None), environment_id, render_mode)


def _bare(env: Any, *, is_limited: bool) -> Any:
    """Environment within what gym puts around each: its checks, and a time limit where one is registered."""
    while type(env).__module__.startswith("gym.wrappers") and type(env).__name__ in REPLACED:
        if type(env).__name__ == TIME_LIMIT_WRAPPER:
            if not is_limited:
                break  # of the environment's own
            is_limited = False
        env = env.env
    return env


def _gym(environment_id: str) -> Any:
    try:
        return importlib.import_module("gym")
    except ImportError as error:
        raise UnknownEnvironment(f"{environment_id}: the package gym is not installed: {INSTALL}") from error


def _parameters(function: Any) -> set[str]:
    """Names of the parameters of a function, and "**" where it takes any."""
    parameters = inspect.signature(function).parameters.values()
    return {"**" if parameter.kind is parameter.VAR_KEYWORD else parameter.name for parameter in parameters}
