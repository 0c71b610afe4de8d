"""Episodes: what a stream holds between two observations, and which streams are open."""

import math
import threading
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Gauge

from serving.errors import Expired, InvalidRequest, NotReady, Overloaded, PolserveError
from serving.policy import Policy

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

    is_playing: bool
    """An episode is going on."""

    def idle_s(self) -> float:
        """Seconds since the client last did something."""

    def end(self, error: PolserveError) -> None:
        """End it for this reason; another thread serves it."""


class OpenStreams:
    """The open streams of this process: not too many, none idle for long, none after the end."""

    def __init__(self, gauge: Gauge, *, max_open: int, idle_s: float) -> None:
        self.max_open = max_open
        self.is_draining = False
        self._gauge = gauge
        self._idle_s = idle_s
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
        self._end_where(lambda stream: not stream.is_playing, NotReady(DRAINING))

    def end_all(self) -> None:
        """End every stream."""
        self._closed.set()
        self._end_where(lambda _stream: True, NotReady(DRAINING))

    def _reap(self) -> None:
        while not self._closed.wait(min(1.0, self._idle_s / 4)):
            error = Expired(f"no message came for {self._idle_s:g} s; the episode's state is freed")
            self._end_where(lambda stream: stream.idle_s() > self._idle_s, error)

    def _end_where(self, condition: Callable[[Stream], bool], error: PolserveError) -> None:
        with self._lock:
            ending = [stream for stream in self._streams if condition(stream)]
        for stream in ending:
            stream.end(error)
