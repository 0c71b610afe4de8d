"""The client for programs with threads."""

from collections.abc import Mapping
from types import TracebackType
from typing import Self, SupportsFloat, SupportsIndex

from numpy.typing import ArrayLike

from polserve.protos.shared.calls import DEFAULT_TARGET
from polserve.serving.client.arguments import (
    DEFAULT_TIMEOUT_S,
    Version,
    connections_of,
    options_of,
    timeout_of,
)
from polserve.serving.client.budget import BudgetDay, Split, allocate_call
from polserve.serving.client.errors import InvalidArgument, described
from polserve.serving.client.live import LivePolicy
from polserve.serving.client.messages import (
    Action,
    EpisodeMessages,
    act_batch_call,
    act_call,
    policies_call,
    policy_call,
)
from polserve.serving.client.observations import Observations
from polserve.serving.client.slots import Episodes
from polserve.serving.client.target import full_target
from polserve.serving.client.transport import GrpcTransport, Stream, Transport, TransportName


class PolicyClient:
    """Connections to a polserve service; may be used from several threads, and as a context manager."""

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        connections: int = 1,
        options: Mapping[str, int | str] | None = None,
        transport: TransportName = "grpcio",
    ) -> None:
        """Connect to a service at the first call.

        Args:
            target: where the service is, host or host:port; the port is 50051 where none is written.
            timeout_s: seconds after which a call, or a step of an episode, fails.
            connections: how many to keep, used in turn; a service of several processes answers each in one of them.
            options: gRPC channel arguments, before our own.
            transport: "grpcio", or "nghttp2" for loops that wait for each action: less than half the time and CPU for
                a call, without proxies, and with a connection for each thread.

        Raises:
            InvalidArgument: an argument is not what it must be.
        """
        seconds, n, given = timeout_of(timeout_s), connections_of(connections), options_of(options)
        self._transport: Transport = make_transport(transport, full_target(target), seconds, n, given)

    @classmethod
    def over(cls, transport: Transport) -> Self:
        """Return a client whose calls something else answers, such as functions: see `polserve.testing`."""
        client = cls.__new__(cls)
        client._transport = transport  # noqa: SLF001 - its own class
        return client

    def act(
        self,
        policy: str,
        observation: ArrayLike,
        *,
        version: Version = "",
        with_values: bool = False,
        epsilon: SupportsFloat = 0.0,
    ) -> Action:
        """Ask for the action of a live version for one observation, or for each of a batch.

        Args:
            policy: its name; "cartpole/1" and "cartpole@challenger" name a version too.
            observation: (*shape) or (n, *shape): an array, lists, or what numpy makes an array of. Numbers of another
                dtype than the policy's are converted where that changes none but by rounding a float to the nearest.
            version: "" or None for the champion, 7 or "7" for that version, "@challenger" for that alias.
            with_values: whether to ask for the Q-values too.
            epsilon: probability that an action is drawn uniformly instead.

        Raises:
            InvalidArgument: an argument is not what it must be; nothing was sent.
            ClientError: the service refused the call or did not answer.
        """
        return self._transport.call(act_call(policy, observation, version, with_values=with_values, epsilon=epsilon))

    def act_batch(
        self,
        policy: str,
        observations: Observations,
        *,
        version: Version = "",
        with_values: bool = False,
        epsilon: SupportsFloat = 0.0,
    ) -> Action:
        """Ask for the actions for n observations: an array (n, *shape), or n arrays (*shape) in turn.

        Raises:
            InvalidArgument: an argument is not what it must be; nothing was sent.
            ClientError: the service refused the call or did not answer.
        """
        call = act_batch_call(policy, observations, version, with_values=with_values, epsilon=epsilon)
        return self._transport.call(call)

    def allocate(self, policy: str, today: BudgetDay, *, version: Version = "") -> Split:
        """Ask an allocator to split what is left of a budget today; the split never exceeds it.

        Raises:
            InvalidArgument: an argument is not what it must be; nothing was sent.
            ClientError: the service refused the call or did not answer.
        """
        return self._transport.call(allocate_call(policy, today, version))

    def episode(
        self, policy: str, *, version: Version = "", with_values: bool = False, epsilon: SupportsFloat = 0.0
    ) -> "Episode":
        """Open a stream of episodes, for a `with` block; each episode keeps the version that it begins with.

        Raises:
            InvalidArgument: an argument is not what it must be; nothing was sent.
        """
        messages = EpisodeMessages(policy, version, with_values=with_values, epsilon=epsilon)
        return Episode(self._transport.open_stream(), messages)

    def episodes(
        self,
        policy: str,
        n: SupportsIndex,
        *,
        version: Version = "",
        with_values: bool = False,
        epsilon: SupportsFloat = 0.0,
    ) -> Episodes:
        """Open a stream of n episodes side by side, for a `with` block, as a vector environment plays them.

        Raises:
            InvalidArgument: an argument is not what it must be; nothing was sent.
        """
        stream = self._transport.open_stream()
        return Episodes(stream, policy, n, version, with_values=with_values, epsilon=epsilon)

    def policies(self) -> list[LivePolicy]:
        """Ask what is live: policies by name, with their versions, aliases and specs.

        Raises:
            ClientError: the service did not answer.
        """
        return self._transport.call(policies_call())

    def policy(self, name: str) -> LivePolicy:
        """Ask what is live of one policy.

        Raises:
            InvalidArgument: `name` is no policy's name.
            ClientError: it is not live, or the service did not answer.
        """
        return self._transport.call(policy_call(name))

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def make_transport(
    name: TransportName, target: str, timeout_s: float, connections: int, options: Mapping[str, int | str]
) -> Transport:
    """Return what carries a client's calls; raises InvalidArgument."""
    if name == "grpcio":
        return GrpcTransport(target, timeout_s, connections, options)
    if name == "nghttp2":
        from polserve.serving.client.http2_transport import Http2Transport

        return Http2Transport(target, timeout_s, options)
    raise InvalidArgument("transport", "grpcio or nghttp2", described(name))


class Episode:
    """One or more episodes, in turn, on one stream; for one thread."""

    def __init__(self, stream: Stream, messages: EpisodeMessages) -> None:
        self._stream = stream
        self._messages = messages

    def act(self, observation: ArrayLike, reward: SupportsFloat | None = None) -> Action:
        """Ask for the action for the next observation; the first one, and the first after `end`, begin an episode.

        Args:
            observation: one observation; one frame where the policy stacks frames, which the service does.
            reward: what the action before earned.

        Raises:
            InvalidArgument: an argument is not what it must be, or there is a reward with the first observation;
                nothing was sent, and the episode goes on.
            ClientError: the service refused it or did not answer; the stream has ended.
        """
        return self._messages.action(self._stream.ask(self._messages.observe(observation, reward)))

    def end(self, reward: SupportsFloat | None = None, *, truncated: bool = False) -> float | None:
        """End the episode; return its return, or None if no reward was reported.

        Args:
            reward: what the last action earned.
            truncated: whether a limit of time ended it, not the environment.

        Raises:
            InvalidArgument: an argument is not what it must be; nothing was sent.
            ClientError: the service did not answer, or no episode was going on.
        """
        return self._messages.episode_return(self._stream.ask(self._messages.end(reward, truncated=truncated)))

    def close(self) -> None:
        """End the stream; the service forgets it."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
