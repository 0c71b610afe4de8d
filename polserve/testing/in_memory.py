"""Clients whose calls are answered in this process, by functions."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import grpc
import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from polserve.protos.polserve.v1 import budget_pb2
from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.names import CHAMPION, POLICY_NAME
from polserve.protos.tensors import to_array, to_tensor
from polserve.serving.client import Action, AsyncPolicyClient, ClientError, InvalidArgument, PolicyClient
from polserve.serving.client.errors import described
from polserve.serving.client.messages import ClientCall, T
from polserve.serving.errors import PolserveError, UnknownPolicy, UnknownVersion
from polserve.testing.budgets import answer_allocate

PolicyFunction: TypeAlias = Callable[[Any], Any]
"""Function from one observation to an action, or from a BudgetDay to spends in micros by channel.

The observation is an array, or where it was given in parts, a dict or tuple with an array in each place.

An action is a whole number or an array of them, or the components of a continuous one; or an `Action`, such as
`polserve.load(...).act` returns.
"""

VERSION = "1"
"""The version that every function is."""


def client(policies: PolicyFunction | Mapping[str, PolicyFunction]) -> PolicyClient:
    """Make a `PolicyClient` that functions answer, without a service.

    Arguments are checked and converted as on the way to a service. What a function raises comes out of the call: to
    test what an application does when the service fails, raise a `ClientError`. Nothing is explored: `epsilon` is
    taken, and the action is the function's own.

    Args:
        policies: the function of each policy by name, or one function for every name. It is called with one observation
            at a time, with each frame of an episode, and with the day of an allocation.

    Raises:
        InvalidArgument: they are no functions, or not named as policies are.
    """
    return PolicyClient.over(InMemoryTransport(policies))


def async_client(policies: PolicyFunction | Mapping[str, PolicyFunction]) -> AsyncPolicyClient:
    """Make an `AsyncPolicyClient` that functions answer, without a service; as `client`."""
    return AsyncPolicyClient.over(AsyncInMemoryTransport(policies))


class InMemoryTransport:
    """Answers calls by functions."""

    takes_parts = True

    def __init__(self, policies: PolicyFunction | Mapping[str, PolicyFunction]) -> None:
        """Check the functions and their names; raises InvalidArgument."""
        self._functions = policies if isinstance(policies, Mapping) else None
        self._any = None if isinstance(policies, Mapping) else policies
        expected = "a function, or a mapping of policies' names to functions"
        named: Mapping[str, object] = {"any": policies} if self._functions is None else self._functions
        for name, function in named.items():
            if not isinstance(name, str) or not POLICY_NAME.fullmatch(name) or not callable(function):
                raise InvalidArgument("policies", expected, f"{described(name)}: {described(function)}")

    def call(self, call: ClientCall[T]) -> T:
        """Answer a call; raises what the function raises."""
        return call.read(self._response(call))

    def open_stream(self) -> "InMemoryStream":
        """Open a stream of episodes."""
        return InMemoryStream(self)

    def close(self) -> None:
        """Free nothing: functions hold no connection."""

    def answer(self, policy: str, version: str, observation: Any) -> Action:
        """Return what a policy's function answers to one observation; raises what the function raises."""
        answered = self._function(policy, version)(observation)
        values = answered.values if isinstance(answered, Action) else None
        action = _action_array(answered.action if isinstance(answered, Action) else answered)
        return Action(action=action, policy=policy, version=VERSION, values=values, explored=None)

    def _response(self, call: ClientCall[Any]) -> Message:
        request = call.request
        match request:
            case pb.ActRequest():
                return self._act(request, call)
            case budget_pb2.AllocateRequest():
                return answer_allocate(request, self._function(request.policy, request.version), VERSION)
            case pb.GetPolicyRequest():
                self._function(request.policy, "")
                return pb.GetPolicyResponse(policy=_live(request.policy))
            case _:
                return pb.ListPoliciesResponse(policies=[_live(name) for name in sorted(self._functions or {})])

    def _act(self, request: pb.ActRequest, call: ClientCall[Any]) -> pb.ActResponse:
        observation = to_array(request.observation) if call.given is None else call.given
        n = 1
        if not call.is_batch:
            answer = self.answer(request.policy, request.version, observation)
            action, values = to_tensor(answer.action), answer.values
        else:
            rows = rows_of(observation)
            n = len(rows)
            if not n:
                raise ClientError(grpc.StatusCode.INVALID_ARGUMENT, "observations: expected at least one, got none")
            answers = [self.answer(request.policy, request.version, row) for row in rows]
            action = to_tensor(np.stack([one.action for one in answers]))
            every = [one.values for one in answers if one.values is not None]
            values = np.stack(every) if len(every) == len(answers) else None
        return pb.ActResponse(
            policy=request.policy,
            version=VERSION,
            action=action,
            values=to_tensor(values) if request.with_values and values is not None else None,
            explored=[False] * n if request.epsilon else (),
        )

    def _function(self, policy: str, version: str) -> PolicyFunction:
        """Return the function that answers; raises ClientError as a service does where there is none."""
        function = self._functions.get(policy) if self._functions is not None else self._any
        if function is None:
            raise _not_found(UnknownPolicy(policy, self._functions or ()))
        if version not in {"", VERSION, f"@{CHAMPION}"}:
            raise _not_found(UnknownVersion(policy, version, [VERSION], [CHAMPION]))
        return function


class InMemoryStream:
    """A stream of episodes that functions play."""

    takes_parts = True

    def __init__(self, transport: InMemoryTransport) -> None:
        self._transport = transport
        self._given: object = None
        self._start: pb.EpisodeStart | None = None
        self._step = 0
        self._return: float | None = None
        self._slots: list[pb.SlotReturn] = []
        """The open episode of each slot, where the stream has slots."""

    def give(self, observation: object) -> None:
        """Take an observation in parts, for the next request."""
        self._given = observation

    def ask(self, request: pb.EpisodeRequest) -> pb.EpisodeResponse:
        """Answer one request, as the service does; raises what the function raises."""
        if request.HasField("start"):
            self._start, self._step, self._return = request.start, 0, None
            self._slots = [pb.SlotReturn(slot=slot) for slot in range(request.start.slots)]
            return self._act(request.start, request.start.observation)
        if self._start is None:
            message = "message: expected a start before anything else"
            raise ClientError(grpc.StatusCode.INVALID_ARGUMENT, message)
        part = request.end if request.HasField("end") else request.step
        if part.HasField("reward"):
            self._return = (self._return or 0.0) + part.reward
        for slot, reward in zip(self._slots, part.rewards, strict=bool(part.rewards)):
            slot.episode_return += reward
        if isinstance(part, pb.EpisodeStep):
            over = [self._end_slot(slot) for slot, how in enumerate(part.ended) if how]
            return self._act(self._start, part.observation, over)
        start, self._start = self._start, None
        return pb.EpisodeResponse(
            policy=start.policy,
            version=VERSION,
            step=self._step,
            episode_return=self._return,
            ended=self._slots,
        )

    def close(self) -> None:
        """End the stream."""
        self._start = None

    def _end_slot(self, slot: int) -> pb.SlotReturn:
        over, self._slots[slot] = self._slots[slot], pb.SlotReturn(slot=slot)
        return over

    def _act(
        self, start: pb.EpisodeStart, observation: pb.Tensor, over: Sequence[pb.SlotReturn] = ()
    ) -> pb.EpisodeResponse:
        given: Any = to_array(observation) if self._given is None else self._given
        self._given = None
        rows = rows_of(given) if self._slots else [given]
        answers = [self._transport.answer(start.policy, start.version, row) for row in rows]
        actions = np.stack([answer.action for answer in answers])
        values = _stacked_values(answers) if start.with_values else None
        if not self._slots:
            actions, values = actions[0, ...], None if values is None else values[0]
        self._step += 1
        for slot in self._slots:
            slot.steps += 1
        return pb.EpisodeResponse(
            policy=start.policy,
            version=VERSION,
            step=self._step,
            action=to_tensor(actions),
            values=None if values is None else to_tensor(values),
            ended=over,
        )


def rows_of(observations: Any) -> Sequence[Any]:
    """Return the observations of a batch one by one: of an array, of a list, or of parts that hold a batch each."""
    if isinstance(observations, Mapping):
        parts = [rows_of(part) for part in observations.values()]
        return [dict(zip(observations, row, strict=True)) for row in zip(*parts, strict=True)]
    if isinstance(observations, tuple):
        return list(zip(*map(rows_of, observations), strict=True))
    return list(observations)


def _stacked_values(answers: Sequence[Action]) -> NDArray[np.float32] | None:
    """Return the values of several answers, (n, a); None where one has none."""
    values = [answer.values for answer in answers if answer.values is not None]
    return np.stack(values) if len(values) == len(answers) else None


class AsyncInMemoryTransport:
    """`InMemoryTransport` for asyncio."""

    takes_parts = True

    def __init__(self, policies: PolicyFunction | Mapping[str, PolicyFunction]) -> None:
        """Check the functions and their names; raises InvalidArgument."""
        self._transport = InMemoryTransport(policies)

    async def call(self, call: ClientCall[T]) -> T:
        """Answer a call; raises what the function raises."""
        return self._transport.call(call)

    def open_stream(self) -> "AsyncInMemoryStream":
        """Open a stream of episodes."""
        return AsyncInMemoryStream(self._transport)

    async def close(self) -> None:
        """Free nothing: functions hold no connection."""


class AsyncInMemoryStream:
    """`InMemoryStream` for asyncio."""

    takes_parts = True

    def __init__(self, transport: InMemoryTransport) -> None:
        self._stream = InMemoryStream(transport)

    def give(self, observation: object) -> None:
        """Take an observation in parts, for the next request."""
        self._stream.give(observation)

    async def ask(self, request: pb.EpisodeRequest) -> pb.EpisodeResponse:
        """Answer one request; raises what the function raises."""
        return self._stream.ask(request)

    async def close(self) -> None:
        """End the stream."""
        self._stream.close()


def _action_array(action: object) -> NDArray[Any]:
    """Return an action as the service sends it: int64, or float32; raises InvalidArgument."""
    expected = "a whole number, numbers or an Action from the function"
    try:
        array = np.asarray(action)
    except ValueError as error:
        raise InvalidArgument("policies", expected, described(action)) from error
    kind = {"i": np.int64, "u": np.int64, "b": np.int64, "f": np.float32}.get(array.dtype.kind)
    if kind is None:
        raise InvalidArgument("policies", expected, described(action))
    return array.astype(kind)


def _live(name: str) -> pb.LivePolicy:
    versions = [pb.LiveVersion(version=VERSION, spec=pb.PolicySpec(name=name))]
    return pb.LivePolicy(name=name, versions=versions, aliases={CHAMPION: VERSION}, default_version=VERSION)


def _not_found(error: PolserveError) -> ClientError:
    return ClientError(grpc.StatusCode.NOT_FOUND, str(error))
