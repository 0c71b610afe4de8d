"""`evaluate`: play a policy beside the random one; a version by name, one in a folder, or a function."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.training.environments.inspection import check_fits, inspect_environment
from polserve.training.environments.limits import EVALUATION_ENVS, LAST_SEED, MAX_EVALUATION_STEPS
from polserve.training.environments.makers import EnvMaker, has_own_name, maker_name, require_maker
from polserve.training.environments.making import EVALUATION_FIRST_SEED, EnvironmentSpec, from_message
from polserve.training.errors import InvalidOption, require, require_whole
from polserve.training.evaluation.evaluation import Evaluation, EvaluationGames, evaluate_beside_random
from polserve.training.evaluation.game_progress import SILENT, GameProgress, shown
from polserve.training.evaluation.given_actions import checked_actions
from polserve.training.evaluation.recurrent import RecurrentPlayer
from polserve.training.registry.lookup import find_version

Actor: TypeAlias = Callable[[NDArray[Any]], Any]
"""A policy as a function: from observations (n, *shape) to actions (n,) or (n, k)."""


class LoadedVersion(Protocol):
    """A version in this process, such as `polserve.load` returns."""

    @property
    def spec(self) -> pb.PolicySpec:
        """The spec of the version."""

    def act(self, observations: NDArray[Any], /) -> Any:
        """Compute the actions for observations (n, *shape), as an array or in an answer's field `action`."""


@dataclass(frozen=True, slots=True)
class EvaluatedPolicy:
    """A policy that can play, and where."""

    name: str
    choose_actions: Actor
    environment: EnvironmentSpec
    first_seed: int = EVALUATION_FIRST_SEED
    """Seed of the first episode of its own evaluation, which others repeat."""


def evaluate(  # noqa: PLR0913 - keywords of a function that notebooks call, as the command's options
    policy: str | Path | LoadedVersion | Actor,
    *,
    episodes: int = 100,
    max_steps: int = MAX_EVALUATION_STEPS,
    envs: int = EVALUATION_ENVS,
    first_seed: int | None = None,
    env: str | EnvMaker | EnvironmentSpec = "",
    module: str = "",
    tracking_uri: str | None = None,
    progress: GameProgress | bool = True,
) -> Evaluation:
    """Play whole episodes of a policy and of the random one, on seeds that training never used.

    Args:
        policy: POLICY for its champion, POLICY/VERSION or POLICY@ALIAS, in the registry or bundled; the folder of a
            version; a version loaded into this process; or a function from observations (n, *shape) to actions,
            which needs `env`.
        episodes: whole episodes of each, 2 or more.
        max_steps: steps after which an episode is cut off.
        envs: environments that are played in together at most.
        first_seed: seed of the first episode, 2,000,000,000 or more; the others follow it. None for that of the
            version's own evaluation. Give a block that nobody looked at yet where you compare what was chosen before.
        env: Gymnasium id to play instead of the policy's own, with the same observations and actions; or a callable
            that makes the environment, such as its class. That of training, by its id or its class, is made with the
            keyword arguments of training; any other without.
        module: Python module that registers the environment, where Gymnasium does not know it.
        tracking_uri: the MLflow registry; None for that of MLFLOW_TRACKING_URI, or ./mlflow.db.
        progress: whether a bar is shown over the episodes and notes are printed; or what hears of both.

    Returns:
        The returns of both, their means, interquartile means and intervals.

    Raises:
        RegistryError: there is no such version or folder, or the registry does not answer.
        UnsupportedEnvironment: the policy cannot play in the environment.
        TrainingError: the environment cannot be made, or is faulty.
        InvalidOption: an argument is out of range, or a function answers with other actions than asked for.
    """
    require_whole(episodes=episodes, max_steps=max_steps, envs=envs, first_seed=first_seed)
    require(episodes > 1, "episodes", "2 or more", episodes)
    require(max_steps > 0, "max_steps", "1 or more", max_steps)
    require(envs > 0, "envs", "1 or more", envs)
    told = shown(progress)
    found = find_policy(policy, env=env, module=module, tracking_uri=tracking_uri, progress=told)
    games = games_of(found, episodes, max_steps, first_seed, envs)
    return evaluate_beside_random(found.name, found.choose_actions, games, told)


def games_of(
    found: EvaluatedPolicy, episodes: int, max_steps: int, first_seed: int | None, envs: int
) -> EvaluationGames:
    """Return the games that evaluate a policy: from `first_seed` on, or from where its own evaluation began.

    Raises:
        InvalidOption: training or selection may have used the seeds, or there are too few of them.
    """
    chosen = found.first_seed if first_seed is None else first_seed
    last = LAST_SEED - episodes + 1
    expected = f"{EVALUATION_FIRST_SEED:,} to {last:,}, which leaves a seed for each episode and none to training"
    require(EVALUATION_FIRST_SEED <= chosen <= last, "first_seed", expected, f"{chosen:,}")
    return EvaluationGames(found.environment, episodes, max_steps, chosen, envs)


def find_policy(
    policy: str | Path | LoadedVersion | Actor,
    *,
    env: str | EnvMaker | EnvironmentSpec = "",
    module: str = "",
    tracking_uri: str | None = None,
    progress: GameProgress = SILENT,
) -> EvaluatedPolicy:
    """Return the policy that is meant, with an environment in which it can play; arguments and errors as `evaluate`."""
    version: LoadedVersion
    if isinstance(policy, (str, Path)):
        name, version = find_version(policy, tracking_uri, on_wait=progress.note)
    elif callable(policy) or not hasattr(policy, "act"):
        return _of_function(policy, _environment(env, module), progress)
    else:
        name, version = policy.spec.name, policy
    environment = from_message(version.spec, module)
    if isinstance(env, str):
        environment = environment.instead(env) if env else environment
    elif not isinstance(env, EnvironmentSpec):
        made = _environment(env, module)
        is_its_own = made.id == environment.id and has_own_name(env) and not isinstance(env, partial)
        environment = replace(
            made,
            kwargs=environment.kwargs if is_its_own else {},
            frames=environment.frames,
            graph_wrappers=environment.graph_wrappers,
        )
    else:
        environment = env
    for caution in check_fits(environment, version.spec):
        progress.note(f"note: {caution}")
    first_seed = max(EVALUATION_FIRST_SEED, version.spec.evaluation.first_seed)  # a spec may state none
    return EvaluatedPolicy(name, _player_of(version), environment, first_seed)


def _player_of(version: LoadedVersion) -> Actor:
    """Return what plays by a version: with a memory, where it is recurrent."""
    if not version.spec.states:
        return partial(_actions_of, version)
    player = getattr(version, "player", None)  # of a graph as ONNX Runtime runs it
    if player is not None:
        return cast("Actor", player())

    def act(observations: NDArray[Any], state: Any) -> tuple[NDArray[Any], Any]:
        answer = version.act(observations, state=state)  # type: ignore[call-arg] # as a recurrent version takes it
        return np.asarray(answer.action), answer.state

    return RecurrentPlayer(act)


def _actions_of(version: LoadedVersion, observations: NDArray[Any]) -> NDArray[Any]:
    answer = version.act(observations)
    return np.asarray(getattr(answer, "action", answer))


def _environment(env: str | EnvMaker | EnvironmentSpec, module: str) -> EnvironmentSpec:
    if isinstance(env, str):
        return EnvironmentSpec(env, module=module)
    if isinstance(env, EnvironmentSpec):
        return env
    require_maker(env, "env", "a Gymnasium id or a callable that makes the environment")
    return EnvironmentSpec(maker_name(env), maker=env)


def _of_function(
    function: Actor | LoadedVersion, environment: EnvironmentSpec, progress: GameProgress
) -> EvaluatedPolicy:
    if not callable(function):
        raise InvalidOption(f"policy: expected a name, a folder or a function, got {function!r}")
    if not environment.id:
        raise InvalidOption("env: expected a Gymnasium id beside a function of observations, got none")
    facts = inspect_environment(environment)
    for caution in facts.cautions:
        progress.note(f"note: {caution}")
    name = getattr(function, "__name__", type(function).__name__)

    def choose_actions(observations: NDArray[Any]) -> NDArray[Any]:
        return checked_actions(name, function(observations), len(observations), facts.action_space)

    return EvaluatedPolicy(name, choose_actions, environment)
