"""The client for asyncio."""

from collections.abc import Mapping
from types import TracebackType
from typing import NoReturn, Self, SupportsFloat, SupportsIndex

from polserve.protos.shared.calls import DEFAULT_TARGET
from polserve.serving.client.arguments import DEFAULT_TIMEOUT_S, Version
from polserve.serving.client.async_slots import AsyncEpisodes
from polserve.serving.client.async_transport import AsyncGrpcTransport, AsyncStream, AsyncTransport
from polserve.serving.client.budget import BudgetDay, Split, allocate_call
from polserve.serving.client.credentials import Credentials
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
    carry_out_async,
    is_in_parts,
    observe_steps,
    takes_parts,
)
from polserve.serving.client.reach import Reach
from polserve.serving.client.slots import SlotMessages


class AsyncPolicyClient:
    """`PolicyClient` for asyncio: the same methods, to be awaited; an async context manager."""

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        connections: int = 1,
        options: Mapping[str, int | str] | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        """Connect at the first call; the arguments are those of `PolicyClient`.

        Raises:
            InvalidArgument: an argument is not what it must be.
        """
        reach = Reach.by(target, credentials, timeout_s, connections, options)
        self._transport: AsyncTransport = AsyncGrpcTransport(reach)
        self._layouts = Layouts()

    @classmethod
    def over(cls, transport: AsyncTransport) -> Self:
        """Return a client whose calls something else answers, such as functions: see `polserve.testing`."""
        client = cls.__new__(cls)
        client._transport, client._layouts = transport, Layouts()  # noqa: SLF001 - its own class
        return client

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds connections and cannot be pickled; make one in each process")

    async def act(  # noqa: PLR0913 - keywords of a method that people call
        self,
        policy: str,
        observation: Observation,
        *,
        version: Version = "",
        with_values: bool = False,
        epsilon: SupportsFloat = 0.0,
        state: bytes | None = None,
    ) -> Action:
        """Ask for an action, as `PolicyClient.act`; raises InvalidArgument and ClientError."""
        options = ActOptions(version, with_values, epsilon, state)
        if not is_in_parts(observation):
            return await self._transport.call(act_call(policy, observation, options))  # type: ignore[arg-type] # array
        if takes_parts(self._transport):
            return await self._transport.call(given_call(policy, as_given(observation), options))
        return await self._carry_out(act_steps(self._layouts, policy, observation, options))

    async def act_batch(  # noqa: PLR0913 - likewise
        self,
        policy: str,
        observations: Observations,
        *,
        version: Version = "",
        with_values: bool = False,
        epsilon: SupportsFloat = 0.0,
        state: bytes | None = None,
    ) -> Action:
        """Ask for the actions of a batch, as `PolicyClient.act_batch`; raises InvalidArgument and ClientError."""
        options, given = ActOptions(version, with_values, epsilon, state), as_list(observations)
        if not are_in_parts(given):
            return await self._transport.call(act_batch_call(policy, given, options))
        if takes_parts(self._transport):
            return await self._transport.call(given_call(policy, batch_as_given(given), options, is_batch=True))
        return await self._carry_out(act_batch_steps(self._layouts, policy, given, options))

    async def allocate(self, policy: str, today: BudgetDay, *, version: Version = "") -> Split:
        """Ask for a split of a budget, as `PolicyClient.allocate`; raises InvalidArgument and ClientError."""
        return await self._transport.call(allocate_call(policy, today, version))

    def episode(
        self, policy: str, *, version: Version = "", with_values: bool = False, epsilon: SupportsFloat = 0.0
    ) -> "AsyncEpisode":
        """Open a stream of episodes, for an `async with` block; each episode keeps the version that it begins with.

        Raises:
            InvalidArgument: an argument is not what it must be; nothing was sent.
        """
        messages = EpisodeMessages(policy, version, with_values=with_values, epsilon=epsilon)
        return AsyncEpisode(self._transport.open_stream(), messages, self._transport, self._layouts)

    def episodes(
        self,
        policy: str,
        n: SupportsIndex,
        *,
        version: Version = "",
        with_values: bool = False,
        epsilon: SupportsFloat = 0.0,
    ) -> AsyncEpisodes:
        """Open a stream of n episodes side by side, for an `async with` block, as a vector environment plays them.

        Raises:
            InvalidArgument: an argument is not what it must be; nothing was sent.
        """
        messages = SlotMessages(policy, n, version, with_values=with_values, epsilon=epsilon)
        return AsyncEpisodes(self._transport.open_stream(), messages, self._transport, self._layouts)

    async def policies(self) -> list[LivePolicy]:
        """Ask what is live, as `PolicyClient.policies`; raises ClientError."""
        return await self._transport.call(policies_call())

    async def policy(self, name: str) -> LivePolicy:
        """Ask what is live of one policy, as `PolicyClient.policy`; raises InvalidArgument and ClientError."""
        return await self._transport.call(policy_call(name))

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def _carry_out(self, steps: Steps[Action]) -> Action:
        return await carry_out_async(steps, self._transport.call)  # type: ignore[arg-type] # they make calls only

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


class AsyncEpisode:
    """`Episode` for asyncio; for one task."""

    def __init__(
        self, stream: AsyncStream, messages: EpisodeMessages, transport: AsyncTransport, layouts: Layouts
    ) -> None:
        self._stream = stream
        self._messages = messages
        self._transport = transport
        self._layouts = layouts

    async def act(self, observation: Observation, reward: SupportsFloat | None = None) -> Action:
        """Ask for the next action, as `Episode.act`; raises InvalidArgument and ClientError."""
        if not is_in_parts(observation):
            request = self._messages.observe(observation, reward)  # type: ignore[arg-type] # an array
            return self._messages.action(await self._stream.ask(request))
        if takes_parts(self._stream):
            self._stream.give(as_given(observation))  # type: ignore[attr-defined] # which is what it says
            return self._messages.action(await self._stream.ask(self._messages.observe((), reward)))
        steps = observe_steps(self._layouts, self._messages, observation, reward)
        return await carry_out_async(steps, asking(self._transport.call, self._stream.ask))

    async def end(self, reward: SupportsFloat | None = None, *, truncated: bool = False) -> float | None:
        """End the episode and return its return, as `Episode.end`; raises InvalidArgument and ClientError."""
        return self._messages.episode_return(await self._stream.ask(self._messages.end(reward, truncated=truncated)))

    async def close(self) -> None:
        """End the stream; the service forgets it."""
        await self._stream.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
