"""Episodes side by side on one stream: every message speaks for all of them, as a vector environment's does."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self, SupportsFloat, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.calls import MAX_REWARD, MOST_SLOTS
from polserve.protos.tensors import to_array
from polserve.serving.client.arguments import Version, check_begun, flag, name_and_version, probability, whole
from polserve.serving.client.errors import InvalidArgument, described
from polserve.serving.client.messages import Action
from polserve.serving.client.observations import Observations, fill_observation
from polserve.serving.client.parts import (
    Layouts,
    Steps,
    are_in_parts,
    asking,
    batch_as_given,
    begun_steps,
    carry_out,
    lay_out_batch,
    takes_parts,
)
from polserve.serving.client.transport import Stream, Transport

RESETS = ("NextStep", "SameStep")
"""Gymnasium's ways to begin the next episode of a slot."""


@dataclass(frozen=True, slots=True)
class EndedEpisode:
    """An episode of a slot that was played to its end."""

    slot: int
    steps: int
    """Actions that were answered in it."""
    episode_return: float | None
    """The sum of its rewards; None if none was reported."""


class VectorEnvironment(Protocol):
    """What `Episodes.play` needs of a Gymnasium vector environment."""

    num_envs: int
    metadata: dict[str, Any]

    def reset(self, *, seed: int | None = None) -> tuple[Any, Any]:
        """Begin all episodes; returns their first observations."""

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, Any]:
        """Take the actions; returns observations, rewards, terminated, truncated and more."""


class EpisodeEnds:
    """When the episodes of a vector environment end, as a stream of slots is to be told.

    Both of Gymnasium's ways to begin a slot's next episode are known: with the step after the end, its default, and
    with the very step of the end.
    """

    def __init__(self, environments: VectorEnvironment) -> None:
        """Look up which way it is; raises InvalidArgument where it is neither."""
        mode = environments.metadata.get("autoreset_mode")
        resets = str(getattr(mode, "value", mode))
        if resets not in RESETS:
            raise InvalidArgument("environments", "an autoreset_mode of " + " or ".join(RESETS), resets)
        self._is_same_step = resets == "SameStep"
        self._last: tuple[Any, Any] = (None, None)
        self.terminated: Any = None
        """(n,) the slots whose next observation begins an episode, since the environment ended the one before."""
        self.truncated: Any = None
        """(n,) likewise, since a limit of time ended it."""

    def note(self, terminated: Any, truncated: Any) -> None:
        """Take in what a step of the environment said."""
        # With NextStep the observation that ended an episode is answered too, and the one after it begins the next.
        before, self._last = self._last, (terminated, truncated)
        self.terminated, self.truncated = self._last if self._is_same_step else before


class SlotMessages:
    """The requests of a stream of slots, and what their responses say."""

    def __init__(
        self, policy: str, n: SupportsIndex, version: Version, *, with_values: bool, epsilon: SupportsFloat
    ) -> None:
        """Check the arguments that hold for the whole stream; raises InvalidArgument."""
        self.policy, self._version = name_and_version(policy, version)
        self.n = whole("n", n, 1, MOST_SLOTS)
        """Number of slots."""
        self._with_values = flag("with_values", with_values)
        self._epsilon = probability("epsilon", epsilon)
        self.is_playing = False
        self.number = ""
        """The version that the episodes began with."""
        self.over: list[EndedEpisode] = []
        """The episodes that have ended so far."""

    def begin(self, told: Any) -> pb.EpisodeRequest:
        """Return the request that starts all slots without observations.

        Args:
            told: rewards, or how slots ended, of which there can be none yet.

        Raises:
            InvalidArgument: there are some.
        """
        if told is not None and len(told):
            what = "rewards" if isinstance(told[0], float) else "terminated, truncated"
            raise InvalidArgument(what, "none with the first observations", described(told))
        start = pb.EpisodeStart(
            policy=self.policy,
            version=self._version,
            with_values=self._with_values,
            epsilon=self._epsilon,
            slots=self.n,
        )
        return pb.EpisodeRequest(start=start)

    def began(self, response: pb.EpisodeResponse) -> None:
        """Take notice of the version that the episodes began with."""
        self.is_playing = True
        self.number = response.version

    def observe(self, observations: ArrayLike, earned: list[float], ended: list[pb.SlotEnd]) -> pb.EpisodeRequest:
        """Return the request with an observation for each slot; raises InvalidArgument."""
        if not self.is_playing:
            request = self.begin(earned or ended)
            fill_observation(request.start.observation, observations, "observations")
            return request
        request = pb.EpisodeRequest()
        fill_observation(request.step.observation, observations, "observations")
        request.step.rewards.extend(earned)
        request.step.ended.extend(ended)
        return request

    def action(self, response: pb.EpisodeResponse) -> Action:
        """Return the actions that a step was answered with."""
        self.note(response)
        self.began(response)
        return Action(
            action=to_array(response.action).copy(),
            policy=response.policy,
            version=response.version,
            values=to_array(response.values).copy() if response.HasField("values") else None,
            explored=np.array(response.explored_slots, np.bool_) if response.explored_slots else None,
        )

    def end(self, rewards: ArrayLike | None, *, truncated: bool) -> pb.EpisodeRequest:
        """Return the request that ends all episodes; raises InvalidArgument."""
        check_begun(is_playing=self.is_playing)
        end = pb.EpisodeEnd(rewards=self.rewards(rewards), truncated=flag("truncated", truncated))
        return pb.EpisodeRequest(end=end)

    def note(self, response: pb.EpisodeResponse) -> None:
        """Take in which episodes have ended."""
        for over in response.ended:
            earned = over.episode_return if over.HasField("episode_return") else None
            self.over.append(EndedEpisode(over.slot, over.steps, earned))

    def rewards(self, values: ArrayLike | None) -> list[float]:
        """Return rewards as a request holds them; raises InvalidArgument."""
        if values is None:
            return []
        earned = [float(value) for value in self._for_each("rewards", values, "numbers")]
        if wrong := [value for value in earned if not abs(value) <= MAX_REWARD]:
            raise InvalidArgument("rewards", f"finite numbers of at most {MAX_REWARD:.2g}", described(wrong[0]))
        return earned

    def ended(self, terminated: ArrayLike | None, truncated: ArrayLike | None) -> list[pb.SlotEnd]:
        """Return how each slot ended as a request holds it; raises InvalidArgument."""
        if terminated is None and truncated is None:
            return []
        nothing = np.zeros(self.n, np.bool_)
        first = nothing if terminated is None else self._for_each("terminated", terminated, "truth values")
        second = nothing if truncated is None else self._for_each("truncated", truncated, "truth values")
        if not (first.any() or second.any()):
            return []
        return [_how(bool(one), bool(two)) for one, two in zip(first, second, strict=True)]

    def _for_each(self, argument: str, values: ArrayLike, what: str) -> NDArray[Any]:
        array = np.asarray(values)
        if array.shape != (self.n,) or array.dtype.kind not in "biuf":
            raise InvalidArgument(argument, f"{what}, one for each of {self.n} slots", described(values))
        return array


class Episodes:
    """The episodes of n slots, each one after the other, on one stream; for one thread."""

    def __init__(self, stream: Stream, messages: SlotMessages, transport: Transport, layouts: Layouts) -> None:
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

    def act(
        self,
        observations: Observations,
        rewards: ArrayLike | None = None,
        *,
        terminated: ArrayLike | None = None,
        truncated: ArrayLike | None = None,
    ) -> Action:
        """Ask for the action of each slot for its next observation.

        Args:
            observations: (n, *shape), or (n, *frame) where the policy stacks frames, which the service does; where the
                environment's space is a Dict or a Tuple, a mapping or a tuple whose parts hold n each.
            rewards: (n,) what the actions before earned.
            terminated: (n,) true where the environment ended a slot's episode; its observation begins the next one.
            truncated: (n,) likewise, where a limit of time ended it.

        Raises:
            InvalidArgument: an argument is not what it must be; nothing was sent.
            ClientError: the service refused it or did not answer; the stream has ended.
        """
        earned = self._messages.rewards(rewards)
        ended = self._messages.ended(terminated, truncated)
        if are_in_parts(observations) and not takes_parts(self._stream):
            steps = slot_steps(self._layouts, self._messages, observations, earned, ended)
            return carry_out(steps, asking(self._transport.call, self._stream.ask))
        if are_in_parts(observations):
            self._stream.give(batch_as_given(observations))  # type: ignore[attr-defined] # it takes them
            observations = ()
        request = self._messages.observe(observations, earned, ended)  # type: ignore[arg-type] # an array
        return self._messages.action(self._stream.ask(request))

    def end(self, rewards: ArrayLike | None = None, *, truncated: bool = False) -> list[EndedEpisode]:
        """End the episodes of all slots; return all that have ended on this stream.

        Args:
            rewards: (n,) what the last actions earned.
            truncated: whether a limit of time ended them, not the environment.

        Raises:
            InvalidArgument: an argument is not what it must be; nothing was sent.
            ClientError: the service did not answer, or no episode was going on.
        """
        self._messages.note(self._stream.ask(self._messages.end(rewards, truncated=truncated)))
        self._messages.is_playing = False
        return self.ended

    def play(self, environments: VectorEnvironment, steps: int, *, seed: int | None = None) -> Iterator[Action]:
        """Let a Gymnasium vector environment play `steps` steps against the service; yields the actions of each.

        Raises:
            InvalidArgument: its `autoreset_mode` is neither NextStep nor SameStep.
            ClientError: the service refused an observation or did not answer; the stream has ended.
        """
        ends = EpisodeEnds(environments)
        observations, _ = environments.reset(seed=seed)
        rewards: Any = None
        for _ in range(steps):
            action = self.act(observations, rewards, terminated=ends.terminated, truncated=ends.truncated)
            yield action
            observations, rewards, terminated, truncated, _ = environments.step(action.action)
            ends.note(terminated, truncated)

    def close(self) -> None:
        """End the stream; the service forgets it."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def slot_steps(
    layouts: Layouts, messages: SlotMessages, observations: Any, earned: list[float], ended: list[pb.SlotEnd]
) -> Steps[Action]:
    """Ask for the actions of all slots, for observations in parts."""
    layout = yield from begun_steps(layouts, messages, earned or ended)
    response: pb.EpisodeResponse = yield messages.observe(lay_out_batch(layout, observations), earned, ended)
    return messages.action(response)


def _how(terminated: bool, truncated: bool) -> pb.SlotEnd:  # noqa: FBT001 - of one slot
    if terminated:
        return pb.SLOT_END_TERMINATED
    return pb.SLOT_END_TRUNCATED if truncated else pb.SLOT_END_UNSPECIFIED
