"""The client for programs with threads."""

import itertools
import queue
import threading
import time
from types import TracebackType
from typing import Any, Self

import grpc

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

WATCH_S = 0.1
"""Between two looks at whether an episode's answer is overdue."""


class PolicyClient:
    """Connections to a polserve service; may be used from several threads, and as a context manager."""

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        connections: int = 1,
        options: ChannelOptions | None = None,
    ) -> None:
        """Connect to `target`, host:port, at the first call.

        Args:
            target: of the service.
            timeout_s: after which a call, or a step of an episode, fails.
            connections: used in turn; a service of several processes answers each in one of them.
            options: gRPC channel arguments, before our own.

        Raises:
            ValueError: `target` is no host:port, or `connections` below 1.
        """
        check_target(target)
        if connections < 1:
            raise ValueError(f"connections: expected at least 1, got {connections}")
        self._link = Link(target, options)
        self._timeout_s = timeout_s
        self._channels = [
            grpc.insecure_channel(target, options=channel_options(target, options)) for _ in range(connections)
        ]
        self._stubs = itertools.cycle([policy_pb2_grpc.PolicyServiceStub(channel) for channel in self._channels])
        self._budgets = itertools.cycle([budget_pb2_grpc.BudgetServiceStub(channel) for channel in self._channels])

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
        request = act_request(policy, observation, version, with_values=with_values, epsilon=epsilon)
        return action_of(self._call(next(self._stubs).Act, request))

    def act_batch(
        self,
        policy: str,
        observations: Observation,
        *,
        version: str = "",
        with_values: bool = False,
        epsilon: float = 0.0,
    ) -> Action:
        """The actions for n observations: an array (n, *shape), or a sequence of n arrays (*shape).

        Raises:
            ClientError: the service refused the call or did not answer.
        """
        return self.act(policy, batch_of(observations), version=version, with_values=with_values, epsilon=epsilon)

    def allocate(self, policy: str, today: BudgetDay, *, version: str = "") -> Split:
        """How a live allocator splits what is left of a budget today; the split never exceeds it.

        Raises:
            ClientError: the service refused the call or did not answer.
            ValueError: the question cannot be sent.
        """
        return split_of(self._call(next(self._budgets).Allocate, allocate_request(policy, today, version)))

    def episode(self, policy: str, *, version: str = "", with_values: bool = False, epsilon: float = 0.0) -> "Episode":
        """A stream of episodes, to be used in a `with` block; each keeps the version that it begins with."""
        messages = EpisodeMessages(policy, version, with_values, epsilon)
        return Episode(next(self._stubs), messages, self._link, self._timeout_s)

    def policies(self) -> list[pb.LivePolicy]:
        """What is live, by name: versions, aliases and specs.

        Raises:
            ClientError: the service did not answer.
        """
        return list(self._call(next(self._stubs).ListPolicies, pb.ListPoliciesRequest()).policies)

    def policy(self, name: str) -> pb.LivePolicy:
        """What is live of one policy.

        Raises:
            ClientError: it is not live, or the service did not answer.
        """
        policy: pb.LivePolicy = self._call(next(self._stubs).GetPolicy, pb.GetPolicyRequest(policy=name)).policy
        return policy

    def close(self) -> None:
        """Close the connections."""
        for channel in self._channels:
            channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: Any, request: Any) -> Any:
        until = time.monotonic() + self._timeout_s
        attempt = 0
        while True:
            attempt += 1
            try:
                response = method(request, timeout=max(0.0, until - time.monotonic()))
            except grpc.RpcError as error:
                pause_s = self._link.retry_after_s(error, attempt, until)
                if pause_s is None:
                    raise self._link.error(error.code(), error.details()) from error
                time.sleep(pause_s)
            else:
                self._link.answered()
                return response


class Episode:
    """One or more episodes, in turn, on one stream; for one thread."""

    def __init__(self, stub: Any, messages: EpisodeMessages, link: Link, timeout_s: float) -> None:
        self._messages = messages
        self._link = link
        self._timeout_s = timeout_s
        self._is_playing = False
        self._due: float | None = None
        self._is_overdue = False
        self._ended = threading.Event()
        self._requests: queue.SimpleQueue[pb.EpisodeRequest | None] = queue.SimpleQueue()
        self._responses = stub.Episode(iter(self._requests.get, None))
        threading.Thread(target=self._watch, name="episode-watch", daemon=True).start()

    def act(self, observation: Observation, reward: float | None = None) -> Action:
        """The action for the next observation; the first one, and the first after `end`, begin an episode.

        Args:
            observation: one observation; one frame where the policy stacks frames, which the service does.
            reward: what the action before earned.

        Raises:
            ClientError: the service refused it or did not answer; the stream has ended.
            ValueError: there is a reward with the first observation.
        """
        request = self._messages.observe(observation, reward, is_first=not self._is_playing)
        response = self._ask(request)
        self._is_playing = True
        return step_of(response, self._messages.epsilon)

    def end(self, reward: float | None = None, *, truncated: bool = False) -> float | None:
        """The return of the episode, which has ended; None if no reward was reported.

        Args:
            reward: what the last action earned.
            truncated: ended by a limit of time, not by the environment.

        Raises:
            ClientError: the service did not answer, or no episode was going on.
        """
        response = self._ask(self._messages.end(reward, truncated=truncated))
        self._is_playing = False
        return response.episode_return if response.HasField("episode_return") else None

    def close(self) -> None:
        """End the stream; the service forgets it."""
        self._ended.set()
        self._requests.put(None)
        self._responses.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: pb.EpisodeRequest) -> pb.EpisodeResponse:
        self._requests.put(request)
        self._due = time.monotonic() + self._timeout_s
        try:
            response: pb.EpisodeResponse = next(self._responses)
        except grpc.RpcError as error:
            if self._is_overdue:
                message = f"no answer within {self._timeout_s:g} s"
                raise ClientError(grpc.StatusCode.DEADLINE_EXCEEDED, message) from error
            raise self._link.error(error.code(), error.details()) from error
        except StopIteration:
            raise ClientError(grpc.StatusCode.CANCELLED, "the stream has ended") from None
        finally:
            self._due = None
        self._link.answered()
        return response

    def _watch(self) -> None:
        """Cancel the stream when an answer is overdue: gRPC's own deadline is for the stream as a whole."""
        while not self._ended.wait(min(WATCH_S, self._timeout_s)):
            due = self._due  # looked at once: the other thread sets it back
            if due is not None and time.monotonic() > due:
                self._is_overdue = True
                self._responses.cancel()
                return
