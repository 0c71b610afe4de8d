"""What both clients share: requests from arrays, actions from responses, errors, and how a channel behaves."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
import numpy as np
from numpy.typing import NDArray

from protos.polserve.v1 import budget_pb2
from protos.polserve.v1 import policy_pb2 as pb
from protos.tensors import to_array, to_tensor

Observation: TypeAlias = NDArray[Any] | Sequence[Any]
ChannelOptions: TypeAlias = Mapping[str, int | str]

MAX_MESSAGE_BYTES = 64 * 1024 * 1024

DEFAULT_TARGET = "localhost:50051"
DEFAULT_TIMEOUT_S = 10.0

_BUDGETS = budget_pb2.DESCRIPTOR.services_by_name["BudgetService"].full_name
_SERVICE = pb.DESCRIPTOR.services_by_name["PolicyService"].full_name
_RETRIES = {
    "methodConfig": [
        {
            "name": [
                *({"service": _SERVICE, "method": method} for method in ("Act", "ListPolicies", "GetPolicy")),
                {"service": _BUDGETS, "method": "Allocate"},
            ],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.05s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
            },
        }
    ]
}
"""Of calls that change nothing (gRFC A6); a hint of the service's when to try again is obeyed."""


class ClientError(Exception):
    """The service refused a call or did not answer; the `grpc.RpcError` is its `__cause__`."""

    is_user_error = True  # the command line prints it as one line

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code


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


def check_target(target: str) -> None:
    """Return if `target` is host:port.

    Raises:
        ValueError: it has no port, or a scheme.
    """
    if "//" in target or not target.rpartition(":")[2].isdecimal():
        raise ValueError(f"target: expected host:port such as 'localhost:50051', got {target!r}")


def channel_options(options: ChannelOptions | None) -> list[tuple[str, int | str]]:
    """The options of a channel, `options` before our own."""
    own: dict[str, int | str] = {
        "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
        "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
        "grpc.service_config": json.dumps(_RETRIES),
        "grpc.use_local_subchannel_pool": 1,  # else all channels to one target share a connection
    }
    return list({**own, **(options or {})}.items())


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
    if not isinstance(observations, np.ndarray) and any(isinstance(one, np.ndarray) for one in observations):
        return np.stack(observations)
    return observations


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
    """An array as it is; lists in the form that takes the policy's dtype."""
    if isinstance(observation, np.ndarray):
        return to_tensor(observation)
    with np.errstate(over="ignore"):  # the service refuses what became infinite
        values = np.asarray(observation, np.float32)
    return pb.Tensor(shape=values.shape, values=values.ravel())


def client_error(code: grpc.StatusCode, details: str | None, target: str) -> ClientError:
    """The error to raise for a failed call."""
    if code is grpc.StatusCode.UNAVAILABLE and "connect" in (details or "").lower():
        details = f"no polserve answers at {target}; start one with `polserve serve` ({details})"
    return ClientError(code, details or "no details")
