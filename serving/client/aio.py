"""The client for asyncio."""

import asyncio
import itertools
import time
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from polserve.protos.polserve.v1 import budget_pb2_grpc, policy_pb2_grpc
from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.serving.client.budget import BudgetDay, Split, allocate_request, split_of
from polserve.serving.client.channel import (
    DEFAULT_TARGET,
    DEFAULT_TIMEOUT_S,
    ChannelOptions,
    ClientError,
    Link,
    channel_options,
    check_target,
)
from polserve.serving.client.messages import (
    Action,
    EpisodeMessages,
    Observation,
    act_request,
    action_of,
    batch_of,
    step_of,
)


class AsyncPolicyClient:
    """`PolicyClient` for asyncio: the same methods, to be awaited; an async context manager."""

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        connections: int = 1,
        options: ChannelOptions | None = None,
    ) -> None:
        """As `PolicyClient`.

        Raises:
            ValueError: `target` is no host:port, or `connections` below 1.
        """
        check_target(target)
        if connections < 1:
            raise ValueError(f"connections: expected at least 1, got {connections}")
        self._link = Link(target, options)
        self._timeout_s = timeout_s
        given = channel_options(target, options)
        self._channels = [grpc.aio.insecure_channel(target, options=given) for _ in range(connections)]
        self._stubs: itertools.cycle[Any] = itertools.cycle(
            [policy_pb2_grpc.PolicyServiceStub(channel) for channel in self._channels]
        )
        self._budgets: itertools.cycle[Any] = itertools.cycle(
            [budget_pb2_grpc.BudgetServiceStub(channel) for channel in self._channels]
        )

    async def act(
        self,
        policy: str,
        observation: Observation,
        *,
        version: str = "",
        with_values: bool = False,
        epsilon: float = 0.0,
    ) -> Action:
        """As `PolicyClient.act`; raises ClientError."""
        request = act_request(policy, observation, version, with_values=with_values, epsilon=epsilon)
        return action_of(await self._call(next(self._stubs).Act, request))

    async def act_batch(
        self,
        policy: str,
        observations: Observation,
        *,
        version: str = "",
        with_values: bool = False,
        epsilon: float = 0.0,
    ) -> Action:
        """As `PolicyClient.act_batch`; raises ClientError."""
        return await self.act(policy, batch_of(observations), version=version, with_values=with_values, epsilon=epsilon)

    async def allocate(self, policy: str, today: BudgetDay, *, version: str = "") -> Split:
        """As `PolicyClient.allocate`; raises ClientError and ValueError."""
        return split_of(await self._call(next(self._budgets).Allocate, allocate_request(policy, today, version)))

    def episode(
        self, policy: str, *, version: str = "", with_values: bool = False, epsilon: float = 0.0
    ) -> "AsyncEpisode":
        """A stream of episodes, to be used in an `async with` block; each keeps the version that it begins with."""
        messages = EpisodeMessages(policy, version, with_values, epsilon)
        return AsyncEpisode(next(self._stubs), messages, self._link, self._timeout_s)

    async def policies(self) -> list[pb.LivePolicy]:
        """As `PolicyClient.policies`; raises ClientError."""
        return list((await self._call(next(self._stubs).ListPolicies, pb.ListPoliciesRequest())).policies)

    async def policy(self, name: str) -> pb.LivePolicy:
        """As `PolicyClient.policy`; raises ClientError."""
        response = await self._call(next(self._stubs).GetPolicy, pb.GetPolicyRequest(policy=name))
        policy: pb.LivePolicy = response.policy
        return policy

    async def close(self) -> None:
        """Close the connections."""
        for channel in self._channels:
            await channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(self, method: Any, request: Any) -> Any:
        until = time.monotonic() + self._timeout_s
        attempt = 0
        while True:
            attempt += 1
            try:
                response = await method(request, timeout=max(0.0, until - time.monotonic()))
            except grpc.aio.AioRpcError as error:
                pause_s = self._link.retry_after_s(error, attempt, until)
                if pause_s is None:
                    raise self._link.error(error.code(), error.details()) from error
                await asyncio.sleep(pause_s)
            else:
                self._link.answered()
                return response


class AsyncEpisode:
    """`Episode` for asyncio; for one task."""

    def __init__(self, stub: Any, messages: EpisodeMessages, link: Link, timeout_s: float) -> None:
        self._messages = messages
        self._link = link
        self._timeout_s = timeout_s
        self._is_playing = False
        self._call = stub.Episode()

    async def act(self, observation: Observation, reward: float | None = None) -> Action:
        """As `Episode.act`; raises ClientError and ValueError."""
        request = self._messages.observe(observation, reward, is_first=not self._is_playing)
        response = await self._ask(request)
        self._is_playing = True
        return step_of(response, self._messages.epsilon)

    async def end(self, reward: float | None = None, *, truncated: bool = False) -> float | None:
        """As `Episode.end`; raises ClientError."""
        response = await self._ask(self._messages.end(reward, truncated=truncated))
        self._is_playing = False
        return response.episode_return if response.HasField("episode_return") else None

    async def close(self) -> None:
        """End the stream; the service forgets it."""
        self._call.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _ask(self, request: pb.EpisodeRequest) -> pb.EpisodeResponse:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._call.write(request)
                response = await self._call.read()
        except TimeoutError as error:
            self._call.cancel()
            message = f"no answer within {self._timeout_s:g} s"
            raise ClientError(grpc.StatusCode.DEADLINE_EXCEEDED, message) from error
        except grpc.aio.AioRpcError as error:
            raise self._link.error(error.code(), error.details()) from error
        except asyncio.InvalidStateError as error:  # written to after its end
            raise self._link.error(await self._call.code(), await self._call.details()) from error
        if response is grpc.aio.EOF:
            raise self._link.error(await self._call.code(), await self._call.details())
        self._link.answered()
        answer: pb.EpisodeResponse = response
        return answer
