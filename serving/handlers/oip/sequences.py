"""Sequences of the Open Inference Protocol: each is an episode, whose state is kept from one request to the next."""

import time
from collections.abc import Callable
from typing import TypeAlias

from polserve.serving.episodes import DRAINING, EpisodeState, OpenStreams, state_bytes
from polserve.serving.errors import InvalidRequest, NotReady
from polserve.serving.handlers.oip.parameters import SEQUENCE_ID
from polserve.serving.policy import Policy
from polserve.serving.rounds import Call

Key: TypeAlias = int | str
"""A sequence's id, which may be a number or a text."""

MOST_REASONS = 64
"""Ended sequences of which it is kept why they ended, at most."""


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
        self._forget = forget

    def fail(self, error: BaseException) -> None:
        """End it, since it was idle, has outlived its version, or the process ends."""
        self._forget(self, error)


class Sequences:
    """The open sequences of one stream, by their ids; used by the loop's thread.

    The stream itself holds no episode while it has sequences, each of which holds one.
    """

    policy = None
    """A stream plays no version by itself: each of its sequences has its own."""

    def __init__(self, stream: Call, streams: OpenStreams) -> None:
        """Begin without any; `streams` holds the stream, and is to hold each sequence beside it."""
        self._stream = stream
        self._streams = streams
        self._open: dict[Key, Sequence] = {}
        self._reasons: dict[Key, str] = {}
        """Why sequences have ended without their client."""

    def begin(self, key: Key, policy: Policy) -> Sequence:
        """Begin a sequence, in the place of an open one of the same id.

        Raises:
            NotReady: this process is ending.
            Overloaded: there is no room for another.
        """
        if self._streams.is_draining:
            raise NotReady(DRAINING)
        self.end(key)
        sequence = Sequence(key, policy, self._forget)
        self._streams.hold(self._stream, 0, 0)
        try:
            self._streams.hold(sequence, 1, state_bytes(policy))
            self._open[key] = sequence
        finally:
            self._settle()
        self._reasons.pop(key, None)
        return sequence

    def find(self, key: Key, model: str, version: str) -> Sequence:
        """Return an open sequence, for a request that names a model and perhaps a version.

        Raises:
            InvalidRequest: there is none, or it plays another version.
        """
        sequence = self._open.get(key)
        if sequence is None:
            reason = f", which has ended: {self._reasons[key]}" if key in self._reasons else ""
            expected = "a sequence that was begun on this stream with sequence_start, and has not ended"
            raise InvalidRequest(f"parameters.{SEQUENCE_ID}", expected, f"{key!r:.80}{reason}")
        policy = sequence.policy
        if model != policy.name:
            raise InvalidRequest("model_name", f"{policy.name!r}, which sequence {key!r:.80} plays", f"{model!r:.80}")
        if version and not version.startswith("@") and version != policy.version:
            expected = f"none, or {policy.version}, with which sequence {key!r:.80} began"
            raise InvalidRequest("model_version", expected, f"{version!r:.80}")
        sequence.active_at = time.monotonic()
        return sequence

    def end(self, key: Key) -> None:
        """Forget a sequence; nothing where there is none."""
        sequence = self._open.pop(key, None)
        if sequence is not None:
            self._streams.close(sequence)
            self._settle()

    def end_all(self) -> None:
        """Forget every sequence."""
        for key in list(self._open):
            self.end(key)

    def _settle(self) -> None:
        """Let a stream without sequences count as one that is between two episodes."""
        if self._stream.is_over:
            return
        self._stream.state = self if self._open else None
        if not self._open:
            self._streams.hold(self._stream, 1, 0)

    def _forget(self, sequence: Sequence, error: BaseException) -> None:
        if self._open.get(sequence.key) is sequence:
            self.end(sequence.key)
            self._reasons[sequence.key] = str(error)
            while len(self._reasons) > MOST_REASONS:
                del self._reasons[next(iter(self._reasons))]
