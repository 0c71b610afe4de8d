"""What both clients share: requests from arrays, and actions from responses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.tensors import CODES, TensorError, cast, to_array, to_tensor

Observation: TypeAlias = NDArray[Any] | Sequence[Any]


@dataclass(frozen=True, slots=True)
class Action:
    """What a policy answered."""

    action: NDArray[Any]
    """() or (n,) int64, or (k,) or (n, k) float32: with the leading axes of the observation."""
    policy: str
    version: str
    """The version that answered."""
    values: NDArray[np.float32] | None
    """Q-values, where they were asked for and the policy has them."""
    explored: NDArray[np.bool_] | None
    """For which observations the action was drawn at random; None when epsilon was 0."""


def live_version(live: pb.LivePolicy, version: str) -> pb.LiveVersion | None:
    """The live version that answers to `version`, as in a request: "", a number, or "@alias"; None where none does."""
    number = version or live.default_version
    if version.startswith("@"):
        number = live.aliases.get(version[1:], "")
    return next((item for item in live.versions if item.version == number), None)


def act_request(
    policy: str, observation: Observation, version: str, *, with_values: bool, epsilon: float
) -> pb.ActRequest:
    """The request for one observation, or a batch."""
    return pb.ActRequest(
        policy=policy,
        version=version,
        observation=observation_tensor(observation),
        with_values=with_values,
        epsilon=epsilon,
    )


def batch_of(observations: Observation) -> Observation:
    """Observations (n, *shape) in one array, where they come as a sequence of arrays."""
    if isinstance(observations, np.ndarray):
        return observations
    tensors = [_numbers(one) for one in observations]
    if len({array.dtype for array in tensors}) > 1:  # stacked, a whole number might be rounded
        tensors = [_as_floats(array) for array in tensors]
    try:
        return np.stack(tensors)
    except ValueError as error:
        shapes = ", ".join(dict.fromkeys(str(array.shape) for array in tensors))
        raise ValueError(f"observations: expected at least one, all of one shape, got {shapes or 'none'}") from error


def action_of(response: pb.ActResponse) -> Action:
    """What an Act answered."""
    return Action(
        action=to_array(response.action).copy(),
        policy=response.policy,
        version=response.version,
        values=to_array(response.values).copy() if response.HasField("values") else None,
        explored=np.array(response.explored, np.bool_) if response.explored else None,
    )


def step_of(response: pb.EpisodeResponse, epsilon: float) -> Action:
    """What a step of an episode answered."""
    return Action(
        action=to_array(response.action).copy(),
        policy=response.policy,
        version=response.version,
        values=to_array(response.values).copy() if response.HasField("values") else None,
        explored=np.array(response.explored, np.bool_) if epsilon > 0 else None,
    )


@dataclass(frozen=True, slots=True)
class EpisodeMessages:
    """The requests of one stream of episodes."""

    policy: str
    version: str
    with_values: bool
    epsilon: float

    def observe(self, observation: Observation, reward: float | None, *, is_first: bool) -> pb.EpisodeRequest:
        """An observation: the first of an episode starts it.

        Raises:
            ValueError: there is a reward with the first one.
        """
        tensor = observation_tensor(observation)
        if not is_first:
            return pb.EpisodeRequest(step=pb.EpisodeStep(observation=tensor, reward=reward))
        if reward is not None:
            raise ValueError(f"reward: expected none with the first observation of an episode, got {reward}")
        start = pb.EpisodeStart(
            policy=self.policy,
            version=self.version,
            with_values=self.with_values,
            epsilon=self.epsilon,
            observation=tensor,
        )
        return pb.EpisodeRequest(start=start)

    @staticmethod
    def end(reward: float | None, *, truncated: bool) -> pb.EpisodeRequest:
        """The end of an episode."""
        return pb.EpisodeRequest(end=pb.EpisodeEnd(reward=reward, truncated=truncated))


def observation_tensor(observation: Observation) -> pb.Tensor:
    """The numbers as they are; the service converts them to the policy's dtype where that changes none.

    Raises:
        ValueError: they are no numbers, of no one shape, or more than any dtype of the wire holds.
    """
    given = _numbers(observation)
    carried = given.dtype if given.dtype.newbyteorder("<") in CODES else _WIDER[given.dtype.name]
    try:
        return to_tensor(cast(given, np.dtype(carried)))
    except TensorError as error:
        raise ValueError(f"observation: expected {error.expected}, got {error.got}") from error


_WIDER = {
    "float16": np.float32,
    "int8": np.int32,
    "int16": np.int32,
    "uint16": np.int32,
    "uint32": np.int64,
    "uint64": np.int64,
}
"""What carries a dtype that the wire does not know."""


def _numbers(observation: Observation) -> NDArray[Any]:
    """The observation as an array of numbers, none of them rounded; raises ValueError."""
    if isinstance(observation, np.ma.MaskedArray) and np.ma.is_masked(observation):
        raise ValueError("observation: expected a number in every place, got a masked array that hides some")
    try:
        given = np.asarray(observation)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"observation: expected numbers in lists of equal lengths ({error})") from error
    if given.dtype == object:
        raise ValueError(f"observation: {_objection(given)}")
    if given.dtype.kind not in "fiub" or given.dtype.itemsize > 8:  # noqa: PLR2004 - bytes of float64
        raise ValueError(f"observation: expected real numbers of at most 64 bits, got {given.dtype} {given.shape}")
    if given.dtype.kind == "f" and not isinstance(observation, np.ndarray) and (np.abs(given) >= 1 << 53).any():
        for item in np.asarray(observation, object).ravel():
            number = item.item() if isinstance(item, (np.generic, np.ndarray)) else item
            if isinstance(number, int) and int(float(number)) != number:
                raise ValueError(f"observation: expected numbers that float64 holds beside its floats, got {number}")
    return given


def _objection(given: NDArray[Any]) -> str:
    """What is wrong with what numpy makes no numbers of."""
    odd = [item for item in given.ravel() if not isinstance(item, (int, float, np.number))]
    if not odd:
        large = next((item for item in given.ravel() if isinstance(item, int) and abs(item) >= 1 << 63), None)
        return f"expected whole numbers below 2^63 in size, got {str(large)[:30]}; write a float, such as 1e30"
    return f"expected real numbers of at most 64 bits, got {type(odd[0]).__name__}"


def _as_floats(array: NDArray[Any]) -> NDArray[np.float64]:
    """The numbers as float64, where that holds them; raises ValueError."""
    try:
        return cast(array, np.dtype(np.float64))
    except TensorError as error:
        raise ValueError(f"observations: expected {error.expected} beside floats, got {error.got}") from error
