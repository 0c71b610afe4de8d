"""Episodes: what the service keeps of one between two observations, and which streams of them are open."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from polserve.protos.shared.calls import MAX_REWARD
from polserve.serving.access.callers import Caller
from polserve.serving.errors import Expired, InvalidRequest, NotReady, Overloaded, PolserveError, Unauthenticated
from polserve.serving.policy import ObservationContract, Policy

RETRY_AFTER_S = 1.0
REWARD_BOUND = f"of at most {MAX_REWARD:.2g}"
"""The bound, as errors say it."""
DRAINING = "draining: this process ends; open a new stream, another one will answer it"


class EpisodeState:
    """One open episode: its version, which never changes, its frame stack or memory, and its return."""

    __slots__ = (
        *("_has_frames", "_stack", "contract", "episode_return", "epsilon", "memories"),
        *("policy", "step", "with_values"),
    )

    def __init__(self, policy: Policy, *, with_values: bool, epsilon: float) -> None:
        self.policy = policy
        self.with_values = with_values
        self.epsilon = epsilon
        self.step = 0
        """Observations taken in."""
        self.episode_return: float | None = None
        """Sum of the rewards; None while none was reported."""
        self._has_frames = policy.spec.observation.frames > 0
        self.contract = frame_contract(policy)
        """What one observation of a step must be."""
        self._stack: NDArray[Any] | None = None
        self.memories = None if policy.memory is None else policy.memory.begin(1)
        """What a recurrent policy remembers of it, (1, size)."""

    def remember(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return an observation (1, *shape) as the policy takes it: with its memory, where it has one."""
        memory = self.policy.memory
        return rows if memory is None or self.memories is None else memory.rows(rows, self.memories)

    def observe(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Take the next observation in; return it as the policy takes it, (1, *shape), with the frames before it.

        Args:
            batch: (1, *frame), checked by `contract`.

        Raises:
            InvalidRequest: there are several.
        """
        if len(batch) != 1:
            raise InvalidRequest("observation.shape", f"one observation {self.contract.shape}", f"{len(batch)} of them")
        self.step += 1
        if not self._has_frames:
            return batch
        if self._stack is None:  # as in training: the first frame stands for those before it
            self._stack = np.repeat(batch, self.policy.observation.shape[0], axis=0)
        else:
            self._stack = np.concatenate([self._stack[1:], batch])
        return self._stack[np.newaxis]

    def reward(self, reward: float) -> None:
        """Add what the last action earned.

        Raises:
            InvalidRequest: no finite number, one that no float32 holds, or there was no action.
        """
        if not abs(reward) <= MAX_REWARD:
            raise InvalidRequest("reward", f"a finite number {REWARD_BOUND}", str(reward))
        if self.step == 0:
            raise InvalidRequest("reward", "none before the first action", str(reward))
        self.episode_return = (self.episode_return or 0.0) + reward


def frame_contract(policy: Policy) -> ObservationContract:
    """Return what one observation of a step must be: a frame, where the policy takes a stack of them."""
    return policy.observation.of_frame() if policy.spec.observation.frames else policy.observation


def state_bytes(policy: Policy) -> int:
    """Return the size of what an episode of a policy keeps between two observations: its frames, and its memory."""
    frames = policy.observation.n_bytes if policy.spec.observation.frames else 0
    return frames + (0 if policy.memory is None else policy.memory.begin(1).nbytes)


class EpisodeCounter(Protocol):
    """Where ended episodes are counted."""

    def count_episode(self, policy: Policy, episode_return: float | None, *, is_truncated: bool) -> None:
        """Count an episode that was played to its end; its return is None where no reward was reported."""


@dataclass(frozen=True, slots=True)
class EpisodeLimits:
    """What streams of episodes may take."""

    max_open: int
    """Episodes that are open at once: a stream without slots holds one, also between two of them."""
    max_state_bytes: int
    """Frames that they keep."""
    idle_s: float
    """Seconds without a message."""
    retired_s: float
    """Seconds that an episode may go on with a version that is no longer live."""


class OpenStream(Protocol):
    """What holds episodes: a call, or a part of one."""

    active_at: float
    """When its client was last heard of, by the monotonic clock."""
    state: Any
    """What is kept of its episode, which knows its policy; None between two episodes."""

    def fail(self, error: BaseException) -> None:
        """End it with an error."""


class CalledStream(OpenStream, Protocol):
    """A call that holds episodes."""

    caller: Caller
    """Who makes it."""


class OpenStreams:
    """The open streams of this process: not too many, none idle for long, none after the end.

    Episodes keep their version when another goes live, but not for ever: its memory is to be free in the end. The state
    of a stream's call knows its policy, or is None between two episodes. Used by the loop's thread.
    """

    def __init__(self, limits: EpisodeLimits, is_live: Callable[[Policy], bool], tell: Callable[[int], None]) -> None:
        """`tell` gets the number of open streams whenever it changes."""
        self.is_draining = False
        self._limits = limits
        self._is_live = is_live
        self._tell = tell
        self._retired: dict[Policy, float] = {}
        """Versions that are played and no longer live, and since when."""
        self._calls: dict[OpenStream, tuple[int, int]] = {}
        """The open streams: how many episodes each holds, and the bytes of their state."""
        self._callers: dict[OpenStream, Caller] = {}
        """Who has opened each of them."""
        self._n_holding = 0
        """Those of them that hold any: a stream of sequences holds none, but each of these does."""
        self._n_episodes = self._n_bytes = 0

    @property
    def n_open(self) -> int:
        """Number of open streams."""
        return self._n_holding

    def open(self, call: CalledStream) -> None:
        """Let a stream begin.

        Raises:
            Overloaded: as many as there may be are open.
            NotReady: this process is ending.
        """
        if self.is_draining:
            raise NotReady(DRAINING)
        self.hold(call, 1, 0)
        self.know(call)

    def know(self, call: CalledStream) -> None:
        """End a stream, which may hold no episode, when what its caller has shown is valid no longer."""
        self._callers[call] = call.caller

    def hold(self, call: OpenStream, n_episodes: int, n_bytes: int) -> None:
        """Let a stream hold so many episodes, whose state takes so many bytes, in the place of what it held.

        Raises:
            Overloaded: that is more than all streams together may hold.
        """
        limits = self._limits
        held = self._calls.get(call, (0, 0))
        if self._n_episodes - held[0] + n_episodes > limits.max_open:
            are_open = f"{self._n_episodes} episodes are open"
            more = "which is the limit" if n_episodes == 1 else f"and {n_episodes} more are above the limit"
            raise Overloaded(f"{are_open}, {more}", RETRY_AFTER_S, "episodes")
        if self._n_bytes - held[1] + n_bytes > limits.max_state_bytes:
            kept = f"the open episodes keep {self._n_bytes >> 20} MiB of frames, of {limits.max_state_bytes >> 20}"
            raise Overloaded(kept, RETRY_AFTER_S, "episode_memory")
        self._calls[call] = (n_episodes, n_bytes)
        self._count(held, (n_episodes, n_bytes))

    def close(self, call: OpenStream) -> None:
        """Forget a stream, and the episode on it."""
        call.state = None
        self._callers.pop(call, None)
        self._count(self._calls.pop(call, (0, 0)), (0, 0))

    def drain(self) -> None:
        """End the streams between two episodes now; the others may play theirs to the end."""
        self.is_draining = True
        self._end_where(lambda call: call.state is None, NotReady(DRAINING))

    def end_all(self) -> None:
        """End every stream."""
        self._end_where(lambda _call: True, NotReady(DRAINING))

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """End what is idle, has outlived its version or its caller's token, from now on."""
        self.reap()
        limits = self._limits
        loop.call_later(min(1.0, limits.idle_s / 4, limits.retired_s / 4), self.watch, loop)

    def reap(self) -> None:
        """End what is idle or has outlived its version, or its caller's token, now."""
        now = time.time()
        for call in [call for call, caller in self._callers.items() if not caller.is_valid(now)]:
            call.fail(Unauthenticated("expired", "what the stream was opened with has expired, or was taken back"))
        if not self._calls:
            self._retired.clear()
            return
        since = time.monotonic() - self._limits.idle_s
        idle = Expired(f"no message came for {self._limits.idle_s:g} s; the episode's state is freed")
        self._end_where(lambda call: call.active_at < since, idle)
        for policy in self._outlived():
            error = NotReady(
                f"{policy.name}/{policy.version} was replaced more than {self._limits.retired_s:g} s ago and is "
                "unloaded; start a new episode"
            )
            self._end_where(lambda call, policy=policy: _played(call) is policy, error)  # type: ignore[misc]

    def _count(self, before: tuple[int, int], now: tuple[int, int]) -> None:
        """Take notice that a stream holds so many episodes and bytes, and what it held before."""
        self._n_episodes += now[0] - before[0]
        self._n_bytes += now[1] - before[1]
        if (was_holding := before[0] > 0) != (now[0] > 0):
            self._n_holding += -1 if was_holding else 1
            self._tell(self._n_holding)

    def _outlived(self) -> list[Policy]:
        """Return the versions that have been played for too long after they were replaced."""
        played = {policy for call in self._calls if (policy := _played(call)) is not None}
        now = time.monotonic()
        self._retired = {policy: self._retired.get(policy, now) for policy in played if not self._is_live(policy)}
        return [policy for policy, since in self._retired.items() if now - since > self._limits.retired_s]

    def _end_where(self, condition: Callable[[OpenStream], bool], error: PolserveError) -> None:
        for call in [call for call in self._calls if condition(call)]:
            call.fail(error)


def _played(call: OpenStream) -> Policy | None:
    return None if call.state is None else call.state.policy
