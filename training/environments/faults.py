"""What environments of others give wrong, each as one sentence."""

import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from polserve.training.errors import FaultyEnvironment, TrainingError

Flags: TypeAlias = NDArray[np.bool_]

RESET = "reset(self, *, seed=None, options=None) returns (observation, info)"
STEP = "step(self, action) returns (observation, reward, terminated, truncated, info)"
VECTOR_STEP = "step(self, actions) returns (observations, rewards, terminations, truncations, infos)"
OLD_STEP = (
    "4 are of the old API of gym: return terminated and truncated in place of done, or register the environment with "
    "gym and give --env gym:ID"
)
OLD_RESET = "the old API of gym lacks them: add them, or register the environment with gym and give --env gym:ID"
N_OLD = 4
"""Values that a step returns in the API of gym before 0.26."""
MOST_CHARACTERS = 300
"""Most characters of what an exception says."""
MOST = float(np.finfo(np.float32).max)
"""Greatest size of an observation's number and of a reward: networks compute in float32."""
WANTED = f"expected a finite number of at most {MOST:.2g}"
_OWN = Path(__file__).parent.parent
_NOT_THE_USERS = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))


class Fault(Exception):
    """What is wrong with a value, without where it came from."""


class OddValue(Fault):
    """A value is none that its place in the API allows."""


class NotFinite(OddValue):
    """A component of an observation is NaN or infinite."""

    def __init__(self, index: tuple[int, ...], message: str) -> None:
        super().__init__(message)
        self.index = index


def told(
    environment_id: str, call: str, error: BaseException, component: Callable[[tuple[int, ...]], str]
) -> TrainingError:
    """Error for what went wrong in a call of the environment; `component` names a component of its observations."""
    if isinstance(error, TrainingError):
        return error
    if isinstance(error, NotFinite):
        return FaultyEnvironment(f"{environment_id}: {call}: {component(error.index)} {error}; mend the environment")
    if isinstance(error, Fault):
        return FaultyEnvironment(f"{environment_id}: {call} {error}")
    return raised(environment_id, call, error)


def raised(environment_id: str, call: str, error: BaseException) -> FaultyEnvironment:
    """Error for an exception from within an environment, with the line of its author's code that raised it."""
    reason = " ".join(str(error).split())[:MOST_CHARACTERS]
    said = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _OWN not in Path(frame.filename).parents]
    theirs = [frame for frame in frames if not frame.filename.startswith(_NOT_THE_USERS)] or frames
    where = f" ({Path(theirs[-1].filename).name}:{theirs[-1].lineno})" if theirs else ""
    return FaultyEnvironment(f"{environment_id}: {call} raised {said}{where}; mend the environment")


def reset_of(result: Any) -> tuple[Any, dict[str, Any]]:
    """Observation and info that a reset returned; raises Fault."""
    if not isinstance(result, (tuple, list)) or len(result) != 2 or not isinstance(result[1], (dict, type(None))):  # noqa: PLR2004 - a pair
        raise Fault(f"returned {_kind(result)}, Gymnasium's {RESET}")
    return result[0], result[1] or {}


def step_of(result: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
    """Values that a step returned, as plain numbers; raises Fault."""
    observation, reward, terminated, truncated, info = _five(result, STEP)
    return (
        observation,
        reward if type(reward) is float and abs(reward) <= MOST else _reward(reward),
        terminated if type(terminated) is bool else _flag("terminated", terminated),
        truncated if type(truncated) is bool else _flag("truncated", truncated),
        info,
    )


def vector_step_of(result: Any, n: int) -> tuple[Any, NDArray[Any], Flags, Flags, dict[str, Any]]:
    """Values that a step of `n` environments returned, as arrays (n,) of their own; raises Fault.

    They are copies: an environment may write into what it gave.
    """
    observation, rewards, terminated, truncated, info = _five(result, VECTOR_STEP)
    return (
        observation,
        _rewards(rewards, n),
        _flags("terminated", terminated, n),
        _flags("truncated", truncated, n),
        info,
    )


def check_rewards(rewards: NDArray[Any]) -> None:
    """Raise OddValue where a reward of environments that are stepped together is no finite number."""
    is_fine = np.abs(rewards) <= MOST  # NOTE: NaN fails every comparison
    if not is_fine.all():
        index = int(np.flatnonzero(~is_fine)[0])
        raise OddValue(f"gave the reward {rewards[index]} in environment {index}; {WANTED}")


def observation_of(given: Any, box: Box) -> NDArray[Any]:
    """Observation as an array of the space's dtype and shape, every number finite; raises Fault.

    A number may be rounded, from float64 to float32. It may not become another one, from 0.5 to 0.
    """
    if type(given) is np.ndarray and given.dtype == box.dtype and given.shape == box.shape:
        observation: NDArray[Any] = given
    else:
        observation = _cast(given, box)
    if observation.dtype.kind == "f" and not np.isfinite(observation).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(observation))[0])
        got = np.asarray(given)[index]
        raise NotFinite(index, f"is {got}; expected a finite {box.dtype}")
    if observation.dtype == np.float64 and (np.abs(observation) > MOST).any():
        index = tuple(int(i) for i in np.argwhere(np.abs(observation) > MOST)[0])
        raise NotFinite(index, f"is {observation[index]:g}; {WANTED}, since networks compute in float32")
    return observation


def _cast(given: Any, box: Box) -> NDArray[Any]:
    try:
        array = np.asarray(given)
    except (TypeError, ValueError) as error:
        raise OddValue(f"gave an observation {_kind(given)}, which is no array; its space is {box}") from error
    if array.dtype.kind not in "biuf":
        raise OddValue(f"gave an observation {_kind(given)}; expected numbers, its space is {box}")
    if array.shape != box.shape:
        raise OddValue(f"gave an observation of shape {array.shape}; expected {box.shape}, the shape of its space")
    with np.errstate(over="ignore", invalid="ignore"):  # looked at by whoever called, and below
        observation = array.astype(box.dtype)
        is_changed = box.dtype.kind != "f" and not (observation == array).all()
    if is_changed:
        index = tuple(int(i) for i in np.argwhere(observation != array)[0])
        raise OddValue(f"gave {array[index]} in an observation of {box.dtype}; state another dtype in its space")
    return observation


def _five(result: Any, api: str) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
    """Values that a step returned, with an info; raises Fault."""
    n = len(result) if isinstance(result, (tuple, list)) else 1
    if n != 5:  # noqa: PLR2004 - see STEP
        old = f"; {OLD_STEP}" if n == N_OLD else ""
        raise Fault(f"returned {n} value{'s' * (n != 1)}, Gymnasium's API has 5; {api}{old}")
    observation, reward, terminated, truncated, info = result
    if not isinstance(info, (dict, type(None))):
        raise Fault(f"returned info {_kind(info)}; expected a dict")
    return observation, reward, terminated, truncated, info or {}


def _rewards(given: Any, n: int) -> NDArray[Any]:
    array = np.array(given)
    if array.dtype.kind not in "biuf" or array.shape != (n,):
        raise OddValue(f"gave rewards {_kind(given)}; expected {n} numbers, an array ({n},)")
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def _flags(name: str, given: Any, n: int) -> Flags:
    array = np.array(given)
    array = np.full(n, array) if array.ndim == 0 else array
    if array.dtype.kind not in "biuf" or array.shape != (n,) or not np.isin(array, (0, 1)).all():
        raise OddValue(f"gave {name} = {_kind(given)}; expected True or False for each, an array ({n},)")
    return array.astype(np.bool_)


def _reward(given: Any) -> float:
    array = np.asarray(given)
    if array.dtype.kind not in "biuf" or array.size != 1:
        raise OddValue(f"gave a reward {_kind(given)}; expected one number")
    if not abs(reward := float(array.item())) <= MOST:
        raise OddValue(f"gave the reward {reward}; {WANTED}")
    return reward


def _flag(name: str, given: Any) -> bool:
    array = np.asarray(given)
    if array.size != 1 or array.dtype.kind not in "biu" or array.item() not in {0, 1}:
        raise OddValue(f"gave {name} = {_kind(given)}; expected True or False")
    return bool(array.item())


def _kind(value: object) -> str:
    """Value in words: itself where that is short, else what it is."""
    if isinstance(value, (tuple, list)):
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, np.ndarray):
        return f"array {value.shape} of {value.dtype}"
    text = repr(value)
    return text if len(text) <= 40 and "\n" not in text else type(value).__name__  # noqa: PLR2004 - characters
