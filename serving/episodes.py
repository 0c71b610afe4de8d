"""Episodes: what a stream holds between two observations, and which streams are open."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Gauge

from polserve.serving.errors import Expired, InvalidRequest, NotReady, Overloaded, PolserveError
from polserve.serving.policy import Policy

RETRY_AFTER_S = 1.0
DRAINING = "draining: this process ends; open a new stream, another one will answer it"


class Episode:
    """One episode: its version, which never changes, its frame stack and its return."""

    def __init__(self, policy: Policy, *, with_values: bool, epsilon: float) -> None:
        self.policy = policy
        self.with_values = with_values
        self.epsilon = epsilon
        self.step = 0
        """Observations taken in."""
        self.episode_return: float | None = None
        """Sum of the rewards; None while none was reported."""
        self._has_frames = policy.spec.observation.frames > 0
        self.contract = policy.observation.of_frame() if self._has_frames else policy.observation
        """What one observation of a step must be."""
        self._stack: NDArray[Any] | None = None

    def observe(self, batch: NDArray[Any]) -> NDArray[Any]:
        """The next observation as the policy takes it, (1, *shape), with the frames before it where it stacks them.

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
        """The last action earned `reward`.

        Raises:
            InvalidRequest: no finite number, or there was no action.
        """
        if not math.isfinite(reward):
            raise InvalidRequest("reward", "a finite number", str(reward))
        if self.step == 0:
            raise InvalidRequest("reward", "none before the first action", str(reward))
        self.episode_return = (self.episode_return or 0.0) + reward


class Stream(Protocol):
    """An open stream, as the table sees it."""

    playing: Policy | None
    """The version of the episode that is going on; None between two episodes."""

    def idle_s(self) -> float:
        """Seconds since the client last did something."""

    def end(self, error: PolserveError) -> None:
        """End it for this reason; another thread serves it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What streams of episodes may take."""

    max_open: int
    """Streams that are open at once."""
    idle_s: float
    """Seconds without a message."""
    retired_s: float
    """Seconds that an episode may go on with a version that is no longer live."""


class OpenStreams:
    """The open streams of this process: not too many, none idle for long, none after the end.

    Episodes keep their version when another goes live, but not for ever: its memory is to be free in the end.
    """

    def __init__(self, gauge: Gauge, limits: Limits, is_live: Callable[[Policy], bool]) -> None:
        self.max_open = limits.max_open
        self.is_draining = False
        self._gauge = gauge
        self._limits = limits
        self._is_live = is_live
        self._retired: dict[Policy, float] = {}
        """Versions that are played and no longer live, and since when."""
        self._streams: set[Stream] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        threading.Thread(target=self._reap, name="episode-reaper", daemon=True).start()

    def open(self, stream: Stream) -> None:
        """`stream` is open now.

        Raises:
            Overloaded: as many as there may be are open.
            NotReady: this process is ending.
        """
        with self._lock:
            if self.is_draining:
                raise NotReady(DRAINING)
            if len(self._streams) >= self.max_open:
                raise Overloaded(f"{self.max_open} episodes are open, which is the limit", RETRY_AFTER_S)
            self._streams.add(stream)
            self._gauge.set(len(self._streams))

    def close(self, stream: Stream) -> None:
        """`stream` is open no more."""
        with self._lock:
            self._streams.discard(stream)
            self._gauge.set(len(self._streams))

    def drain(self) -> None:
        """End the streams between two episodes now; the others may play theirs to the end."""
        with self._lock:
            self.is_draining = True
        self._end_where(lambda stream: stream.playing is None, NotReady(DRAINING))

    def end_all(self) -> None:
        """End every stream."""
        self._closed.set()
        self._end_where(lambda _stream: True, NotReady(DRAINING))

    def _reap(self) -> None:
        limits = self._limits
        idle = Expired(f"no message came for {limits.idle_s:g} s; the episode's state is freed")
        while not self._closed.wait(min(1.0, limits.idle_s / 4, limits.retired_s / 4)):
            self._end_where(lambda stream: stream.idle_s() > limits.idle_s, idle)
            self._end_outlived()

    def _end_outlived(self) -> None:
        """End the episodes of versions that were replaced too long ago."""
        for policy in self._outlived():
            error = NotReady(
                f"{policy.name}/{policy.version} was replaced more than {self._limits.retired_s:g} s ago and is "
                "unloaded; start a new episode"
            )
            self._end_where(lambda stream, policy=policy: stream.playing is policy, error)  # type: ignore[misc]

    def _outlived(self) -> list[Policy]:
        """The versions that have been played for too long after they were replaced."""
        with self._lock:
            played = {stream.playing for stream in self._streams if stream.playing is not None}
        now = time.monotonic()
        self._retired = {policy: self._retired.get(policy, now) for policy in played if not self._is_live(policy)}
        return [policy for policy, since in self._retired.items() if now - since > self._limits.retired_s]

    def _end_where(self, condition: Callable[[Stream], bool], error: PolserveError) -> None:
        with self._lock:
            ending = [stream for stream in self._streams if condition(stream)]
        for stream in ending:
            stream.end(error)
