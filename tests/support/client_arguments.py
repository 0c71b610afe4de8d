"""Every argument of a client, to be tried with whatever somebody may pass."""

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from polserve.protos.polserve.v1 import budget_pb2
from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.tensors import to_tensor
from polserve.serving.client import InvalidArgument, PolicyClient
from polserve.serving.client.arguments import connections_of, options_of, timeout_of
from polserve.serving.client.messages import ClientCall, EpisodeMessages, T
from polserve.serving.client.target import full_target

ANSWERS = {
    "Act": pb.ActResponse(version="1", action=to_tensor(np.zeros((), np.int64))),
    "GetPolicy": pb.GetPolicyResponse(
        policy=pb.LivePolicy(name="cartpole", versions=[pb.LiveVersion(version="1")], default_version="1")
    ),
    "Allocate": budget_pb2.AllocateResponse(allocations=[budget_pb2.Allocation(name="a")]),
}


class Recorder:
    """Keeps what would be sent, and answers."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def call(self, call: ClientCall[T]) -> T:
        if call.method != "GetPolicy":  # which says how observations are laid out
            self.sent.append(call.request)
        return call.read(ANSWERS[call.method])

    def open_stream(self) -> NoReturn:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is held."""


def refusal_of(action: Callable[[], object]) -> InvalidArgument | None:
    """Return what an action was refused with; None where it was done."""
    try:
        action()
    except InvalidArgument as refusal:
        return refusal
    return None


def playing() -> EpisodeMessages:
    """The messages of an episode that has begun."""
    messages = EpisodeMessages("cartpole", "", with_values=False, epsilon=0)
    messages.is_playing = True
    return messages


ARGUMENTS: dict[str, Callable[[PolicyClient, Any], object]] = {
    "policy": lambda client, value: client.act(value, [0.0]),
    "version": lambda client, value: client.act("cartpole", [0.0], version=value),
    "observation": lambda client, value: client.act("cartpole", value),
    "observations": lambda client, value: client.act_batch("cartpole", value),
    "with_values": lambda client, value: client.act("cartpole", [0.0], with_values=value),
    "epsilon": lambda client, value: client.act("cartpole", [0.0], epsilon=value),
    "target": lambda _, value: full_target(value),
    "reward": lambda _, value: playing().end(value, truncated=False),
    "timeout_s": lambda _, value: timeout_of(value),
    "connections": lambda _, value: connections_of(value),
    "options": lambda _, value: options_of(value),
    "truncated": lambda _, value: playing().end(None, truncated=value),
}


def check_taken_or_refused(value: object) -> None:
    """Use a value as every argument; fail unless it is taken, or refused by name before anything is sent."""
    for argument, use in ARGUMENTS.items():
        recorder = Recorder()
        client = PolicyClient.over(recorder)
        refusal = refusal_of(lambda: use(client, value))  # noqa: B023 - called at once
        if refusal is not None:
            assert refusal.argument == argument
            assert str(refusal) == f"{argument}: expected {refusal.expected}, got {refusal.got}"
            assert len(refusal.got) < 400
            assert "\n" not in str(refusal)
            assert not recorder.sent
