"""The client for programs with threads."""

from collections.abc import Mapping
from types import TracebackType
from typing import NoReturn, Self, SupportsFloat, SupportsIndex

from polserve.protos.shared.calls import DEFAULT_TARGET
from polserve.serving.client.arguments import DEFAULT_TIMEOUT_S, Version
from polserve.serving.client.budget import BudgetDay, Split, allocate_call
from polserve.serving.client.credentials import Credentials
from polserve.serving.client.errors import InvalidArgument, described
from polserve.serving.client.live import LivePolicy
from polserve.serving.client.messages import (
    Action,
    ActOptions,
    EpisodeMessages,
    act_batch_call,
    act_call,
    given_call,
    policies_call,
    policy_call,
)
from polserve.serving.client.observations import Observation, Observations
from polserve.serving.client.parts import (
    Layouts,
    Steps,
    act_batch_steps,
    act_steps,
    are_in_parts,
    as_given,
    as_list,
    asking,
    batch_as_given,
    carry_out,
    is_in_parts,
    observe_steps,
    takes_parts,
)
from polserve.serving.client.reach import Reach
from polserve.serving.client.slots import Episodes, SlotMessages
from polserve.serving.client.transport import GrpcTransport, Stream, Transport, TransportName


class PolicyClient:
    """Connections to a polserve service; may be used from several threads, and as a context manager."""

    def __init__(  # noqa: PLR0913 - keywords that people write
        self,
        target: str = DEFAULT_TARGET,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        connections: int = 1,
        options: Mapping[str, int | str] | None = None,
        transport: TransportName = "grpcio",
        credentials: Credentials | None = None,
    ) -> None:
        """Connect to a service at the first call.

        Args:
            target: where the service is, host or host:port; the port is 50051 where none is written. Or as gRPC
                writes it: dns:///HOST:PORT, ipv6:[ADDRESS]:PORT, unix:PATH.
            timeout_s: seconds after which a call, or a step of an episode, fails.
            connections: how many to keep, used in turn; a service of several processes answers each in one of them.
            options: gRPC channel arguments, before our own.
            transport: "grpcio", or "nghttp2" for loops that wait for each action: less time and CPU for a call,
                without proxies, and with a connection for each thread.
            credentials: TLS, a client certificate and a token; None for those of the variables, see `Credentials`.

        Raises:
            InvalidArgument: an argument is not what it must be.
        """
        reach = Reach.by(target, credentials, timeout_s, connections, options)
        self._transport: Transport = make_transport(transport, reach)
        self._layouts = Layouts()

    @classmethod
    def over(cls, transport: Transport) -> Self:
        """Return a client whose calls something else answers, such as functions: see `polserve.testing`."""
        client = cls.__new__(cls)
        client._transport, client._layouts = transport, Layouts()  # noqa: SLF001 - its own class
        return client

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds connections and cannot be pickled; make one in each process")

    def act(  # noqa: PLR0913 - keywords of a method that people call
        self,
        policy: str,
        observation: Observation,
        *,
        version: Version = "",
        with_values: bool = False,
        epsilon: SupportsFloat = 0.0,
        state: bytes | None = None,
    ) -> Action:
        """Ask for the action of a live version for one observation, or for each of a batch.

        Args:
            policy: its name; "cartpole/1" and "cartpole@challenger" name a version too.
            observation: (*shape) or (n, *shape): an array, lists, or what numpy makes an array of. Numbers of another
                dtype than the policy's are converted where that changes none but by rounding a float to the nearest.
                Where the environment's space is a Dict or a Tuple: a mapping or a tuple of its parts.
            version: "" or None for the champion, 7 or "7" for that version, "@challenger" for that alias.
            with_values: whether to ask for the Q-values too.
            epsilon: probability that an action is drawn uniformly instead.
            state: the `state` of the answer before, from a recurrent policy; None at the start of an episode.

        Raises:
            InvalidArgument: an argument is not what it must be; nothing was sent.
            ClientError: the service refused the call or did not answer.
        """
        options = ActOptions(version, with_values, epsilon, state)
        if not is_in_parts(observation):
            return self._transport.call(act_call(policy, observation, options))  # type: ignore[arg-type] # an array
        if takes_parts(self._transport):
            return self._transport.call(given_call(policy, as_given(observation), options))
        return self._carry_out(act_steps(self._layouts, policy, observation, options))

    def act_batch(  # noqa: PLR0913 - likewise
        self,
        policy: str,
        observations: Observations,
        *,
        version: Version = "",
        with_values: bool = False,
        epsilon: SupportsFloat = 0.0,
        state: bytes | None = None,
    ) -> Action:
        """Ask for the actions for n observations: an array (n, *shape), or n arrays (*shape) in turn.

        Where the environment's space is a Dict or a Tuple: n observations in parts in turn, or a mapping or a tuple
        whose parts hold n each.

        Raises:
            InvalidArgument: an argument is not what it must be; nothing was sent.
            ClientError: the service refused the call or did not answer.
        """
        options, given = ActOptions(version, with_values, epsilon, state), as_list(observations)
        if not are_in_parts(given):
            return self._transport.call(act_batch_call(policy, given, options))
        if takes_parts(self._transport):
            return self._transport.call(given_call(policy, batch_as_given(given), options, is_batch=True))
        return self._carry_out(act_batch_steps(self._layouts, policy, given, options))

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
        return Episode(self._transport.open_stream(), messages, self._transport, self._layouts)

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
        messages = SlotMessages(policy, n, version, with_values=with_values, epsilon=epsilon)
        return Episodes(self._transport.open_stream(), messages, self._transport, self._layouts)

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

    def _carry_out(self, steps: Steps[Action]) -> Action:
        return carry_out(steps, self._transport.call)  # type: ignore[arg-type] # these steps make calls only

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def make_transport(name: TransportName, reach: Reach) -> Transport:
    """Return what carries a client's calls; raises InvalidArgument."""
    if name == "grpcio":
        return GrpcTransport(reach)
    if name == "nghttp2":
        from polserve.serving.client.http2_transport import Http2Transport

        return Http2Transport(reach)
    raise InvalidArgument("transport", "grpcio or nghttp2", described(name))


class Episode:
    """One or more episodes, in turn, on one stream; for one thread."""

    def __init__(self, stream: Stream, messages: EpisodeMessages, transport: Transport, layouts: Layouts) -> None:
        self._stream = stream
        self._messages = messages
        self._transport = transport
        self._layouts = layouts

    def act(self, observation: Observation, reward: SupportsFloat | None = None) -> Action:
        """Ask for the action for the next observation; the first one, and the first after `end`, begin an episode.

        Args:
            observation: one observation, as `PolicyClient.act` takes it; one frame where the policy stacks frames,
                which the service does.
            reward: what the action before earned.

        Raises:
            InvalidArgument: an argument is not what it must be, or there is a reward with the first observation;
                nothing was sent, and the episode goes on.
            ClientError: the service refused it or did not answer; the stream has ended.
        """
        if not is_in_parts(observation):
            request = self._messages.observe(observation, reward)  # type: ignore[arg-type] # an array
            return self._messages.action(self._stream.ask(request))
        if takes_parts(self._stream):
            self._stream.give(as_given(observation))  # type: ignore[attr-defined] # which is what it says
            return self._messages.action(self._stream.ask(self._messages.observe((), reward)))
        steps = observe_steps(self._layouts, self._messages, observation, reward)
        return carry_out(steps, asking(self._transport.call, self._stream.ask))

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
