"""Sequences of the Open Inference Protocol: each is an episode, whose state is kept from one request to the next."""

import time
from collections.abc import Callable
from typing import NamedTuple

from polserve.serving.episodes import DRAINING, EpisodeState, OpenStreams, state_bytes
from polserve.serving.errors import InvalidRequest, NotReady
from polserve.serving.handlers.oip.parameters import SEQUENCE_ID
from polserve.serving.methods import Call
from polserve.serving.policy import Policy

MOST_REASONS = 64
"""Ended sequences of which it is kept why they ended, at most."""


class Key(NamedTuple):
    """What names a sequence: its model, and its id among the model's."""

    model: str
    id: int | str


class Sequence:
    """An open sequence: its episode, and when it was last heard of."""

    def __init__(self, key: Key, policy: Policy, forget: Callable[["Sequence", BaseException], None]) -> None:
        """Begin an episode; `forget` is called when it ends by anything but its client."""
        self.key = key
        self.policy = policy
        self.episode = EpisodeState(policy, with_values=False, epsilon=0.0)
        self.state: EpisodeState | None = self.episode
        """The episode while the sequence is open, for whoever looks which versions are played."""
        self.active_at = time.monotonic()
        self.is_busy = False
        """Whether a request of it waits for its answer."""
        self._forget = forget

    def fail(self, error: BaseException) -> None:
        """End it, since it was idle, has outlived its version, or the process ends."""
        self._forget(self, error)


class Sequences:
    """The open sequences of one stream, or those of all unary calls of a caller; used by the loop's thread.

    A stream itself holds no episode while it has sequences, each of which holds one.
    """

    policy = None
    """A stream plays no version by itself: each of its sequences has its own."""

    def __init__(self, stream: Call | None, streams: OpenStreams) -> None:
        """Begin without any; `streams` holds the stream, and is to hold each sequence beside it."""
        self._stream = stream
        self._streams = streams
        self._open: dict[Key, Sequence] = {}
        self._reasons: dict[Key, str] = {}
        """Why sequences have ended without their client."""

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, key: Key, policy: Policy) -> Sequence:
        """Begin a sequence, in the place of an open one of the same name.

        Raises:
            NotReady: this process is ending.
            Overloaded: there is no room for another.
        """
        if self._streams.is_draining:
            raise NotReady(DRAINING)
        if key in self._open:
            self.end(self._open[key])
        sequence = Sequence(key, policy, self._forget)
        if self._stream is not None:
            self._streams.hold(self._stream, 0, 0)
        try:
            self._streams.hold(sequence, 1, state_bytes(policy))
            self._open[key] = sequence
        finally:
            self._settle()
        self._reasons.pop(key, None)
        return sequence

    def find(self, key: Key, version: str) -> Sequence:
        """Return an open sequence, for a request that perhaps names a version.

        Raises:
            InvalidRequest: there is none, it plays another version, or its last request is not answered yet.
        """
        sequence = self._open.get(key)
        if sequence is None:
            reason = f", which has ended: {self._reasons[key]}" if key in self._reasons else ""
            where = "in this process" if self._stream is None else "on this stream"
            expected = f"a sequence of {key.model!r:.80} that was begun {where} with sequence_start, and has not ended"
            raise InvalidRequest(f"parameters.{SEQUENCE_ID}", expected, f"{key.id!r:.80}{reason}")
        if version and not version.startswith("@") and version != sequence.policy.version:
            expected = f"none, or {sequence.policy.version}, with which sequence {key.id!r:.80} began"
            raise InvalidRequest("model_version", expected, f"{version!r:.80}")
        if sequence.is_busy:
            expected = "one request at a time of a sequence, in order"
            raise InvalidRequest(f"parameters.{SEQUENCE_ID}", expected, f"another of {key.id!r:.80}")
        sequence.active_at = time.monotonic()
        return sequence

    def end(self, sequence: Sequence) -> None:
        """Forget a sequence; nothing where it was forgotten before."""
        if self._open.get(sequence.key) is sequence:
            del self._open[sequence.key]
            self._streams.close(sequence)
            self._settle()

    def end_all(self) -> None:
        """Forget every sequence."""
        for sequence in list(self._open.values()):
            self.end(sequence)

    def let_go(self) -> None:
        """End the stream where the process is ending and no sequence is left on it."""
        if self._streams.is_draining and self._stream is not None and self._stream.state is None:
            self._stream.fail(NotReady(DRAINING))

    def _settle(self) -> None:
        """Let a stream without sequences count as one that is between two episodes."""
        if self._stream is None or self._stream.is_over:
            return
        self._stream.state = self if self._open else None
        if not self._open:
            self._streams.hold(self._stream, 1, 0)

    def _forget(self, sequence: Sequence, error: BaseException) -> None:
        if self._open.get(sequence.key) is sequence:
            self.end(sequence)
            self._reasons[sequence.key] = str(error)
            while len(self._reasons) > MOST_REASONS:
                del self._reasons[next(iter(self._reasons))]
