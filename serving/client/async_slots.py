"""Episodes side by side on one stream, for asyncio."""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

from numpy.typing import ArrayLike

from polserve.serving.client.async_transport import AsyncStream, AsyncTransport
from polserve.serving.client.messages import Action
from polserve.serving.client.observations import Observations
from polserve.serving.client.parts import Layouts, are_in_parts, asking, batch_as_given, carry_out_async, takes_parts
from polserve.serving.client.slots import EndedEpisode, EpisodeEnds, SlotMessages, VectorEnvironment, slot_steps


class AsyncEpisodes:
    """`Episodes` for asyncio; for one task."""

    def __init__(
        self, stream: AsyncStream, messages: SlotMessages, transport: AsyncTransport, layouts: Layouts
    ) -> None:
        self._stream = stream
        self._messages = messages
        self._transport = transport
        self._layouts = layouts

    @property
    def n(self) -> int:
        """Number of slots."""
        return self._messages.n

    @property
    def ended(self) -> list[EndedEpisode]:
        """The episodes that have ended so far."""
        return self._messages.over

    async def act(
        self,
        observations: Observations,
        rewards: ArrayLike | None = None,
        *,
        terminated: ArrayLike | None = None,
        truncated: ArrayLike | None = None,
    ) -> Action:
        """Ask for the action of each slot, as `Episodes.act`; raises InvalidArgument and ClientError."""
        messages = self._messages
        earned, ended = messages.rewards(rewards), messages.ended(terminated, truncated)
        if are_in_parts(observations) and not takes_parts(self._stream):
            steps = slot_steps(self._layouts, messages, observations, earned, ended)
            return await carry_out_async(steps, asking(self._transport.call, self._stream.ask))
        if are_in_parts(observations):
            self._stream.give(batch_as_given(observations))  # type: ignore[attr-defined] # it takes them
            observations = ()
        request = messages.observe(observations, earned, ended)  # type: ignore[arg-type] # an array
        return messages.action(await self._stream.ask(request))

    async def end(self, rewards: ArrayLike | None = None, *, truncated: bool = False) -> list[EndedEpisode]:
        """End the episodes of all slots, as `Episodes.end`; raises InvalidArgument and ClientError."""
        self._messages.note(await self._stream.ask(self._messages.end(rewards, truncated=truncated)))
        self._messages.is_playing = False
        return self.ended

    async def play(
        self, environments: VectorEnvironment, steps: int, *, seed: int | None = None
    ) -> AsyncIterator[Action]:
        """Let a Gymnasium vector environment play, as `Episodes.play`; it is stepped by the loop's thread.

        Raises:
            InvalidArgument: its `autoreset_mode` is neither NextStep nor SameStep.
            ClientError: the service refused an observation or did not answer; the stream has ended.
        """
        ends = EpisodeEnds(environments)
        observations, _ = environments.reset(seed=seed)
        rewards: Any = None
        for _ in range(steps):
            action = await self.act(observations, rewards, terminated=ends.terminated, truncated=ends.truncated)
            yield action
            observations, rewards, terminated, truncated, _ = environments.step(action.action)
            ends.note(terminated, truncated)

    async def close(self) -> None:
        """End the stream; the service forgets it."""
        await self._stream.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
