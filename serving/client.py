"""The Python client: numpy arrays in and out."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeAlias

import grpc
import numpy as np
from numpy.typing import NDArray

from protos.polserve.v1 import policy_pb2 as pb
from protos.polserve.v1 import policy_pb2_grpc
from protos.tensors import to_array, to_tensor

__all__ = ["Action", "ClientError", "PolicyClient"]

Observation: TypeAlias = NDArray[Any] | Sequence[Any]

MAX_MESSAGE_BYTES = 64 * 1024 * 1024


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


class PolicyClient:
    """A connection to a polserve service; may be used from several threads, and as a context manager."""

    def __init__(self, target: str = "localhost:50051", *, timeout_s: float = 10.0) -> None:
        """Connect to `target`, host:port, at the first call; each call fails after `timeout_s` seconds.

        Raises:
            ValueError: `target` has no port, or a scheme.
        """
        if "//" in target or not target.rpartition(":")[2].isdecimal():
            raise ValueError(f"target: expected host:port such as 'localhost:50051', got {target!r}")
        self._target = target
        self._timeout_s = timeout_s
        self._channel = grpc.insecure_channel(
            target,
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ],
        )
        self._stub = policy_pb2_grpc.PolicyServiceStub(self._channel)

    def act(
        self,
        policy: str,
        observation: Observation,
        *,
        version: str = "",
        with_values: bool = False,
        epsilon: float = 0.0,
    ) -> Action:
        """The action of a live version for one observation, or for each of a batch.

        Args:
            policy: its name.
            observation: (*shape) or (n, *shape). An array must have the policy's dtype; lists take it.
            version: "" for the champion, "7" for that version, "@challenger" for that alias.
            with_values: ask for the Q-values too.
            epsilon: probability that an action is drawn uniformly instead.

        Raises:
            ClientError: the service refused the call or did not answer.
        """
        request = pb.ActRequest(
            policy=policy,
            version=version,
            observation=_observation_tensor(observation),
            with_values=with_values,
            epsilon=epsilon,
        )
        response = self._call(self._stub.Act, request)
        return Action(
            action=to_array(response.action).copy(),
            policy=response.policy,
            version=response.version,
            values=to_array(response.values).copy() if response.HasField("values") else None,
            explored=np.array(response.explored, np.bool_) if response.explored else None,
        )

    def policies(self) -> list[pb.LivePolicy]:
        """What is live, by name: versions, aliases and specs.

        Raises:
            ClientError: the service did not answer.
        """
        return list(self._call(self._stub.ListPolicies, pb.ListPoliciesRequest()).policies)

    def policy(self, name: str) -> pb.LivePolicy:
        """What is live of one policy.

        Raises:
            ClientError: it is not live, or the service did not answer.
        """
        policy: pb.LivePolicy = self._call(self._stub.GetPolicy, pb.GetPolicyRequest(policy=name)).policy
        return policy

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=self._timeout_s)
        except grpc.RpcError as error:
            code, details = error.code(), error.details()
            if code is grpc.StatusCode.UNAVAILABLE and "connect" in (details or "").lower():
                details = f"no polserve answers at {self._target}; start one with `polserve serve` ({details})"
            raise ClientError(code, details or "no details") from error


def _observation_tensor(observation: Observation) -> pb.Tensor:
    if isinstance(observation, np.ndarray):
        return to_tensor(observation)
    with np.errstate(over="ignore"):  # the service refuses what became infinite
        values = np.asarray(observation, np.float32)  # it gives them the policy's dtype
    return pb.Tensor(shape=values.shape, values=values.ravel())
