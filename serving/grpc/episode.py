"""The stream of episodes: each open one holds a thread of a pool of its own, so that none is taken from other calls."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.serving.answering import Responder, check_epsilon
from polserve.serving.episodes import DRAINING, Episode, OpenStreams
from polserve.serving.errors import InvalidRequest, NotReady
from polserve.serving.grpc.codec import decode_observation, encode_step, has_values_form, parse
from polserve.serving.grpc.statuses import Status, status_of
from polserve.serving.metrics.answers import AnsweringMetrics
from polserve.serving.policy import Policy

SPARE_THREADS = 4
"""For streams that are refused because as many as there may be are open."""

Send = Callable[[bytes | None], None]


class EpisodeHandler:
    """Serves streams of serialised EpisodeRequest messages.

    It is called the way the health service is: it sends through a callback, so that an idle stream can be ended by
    another thread, with a status that says why.
    """

    experimental_non_blocking = True

    def __init__(self, responder: Responder, streams: OpenStreams, metrics: AnsweringMetrics) -> None:
        self.experimental_thread_pool = ThreadPoolExecutor(
            streams.max_open + SPARE_THREADS, thread_name_prefix="episode"
        )
        self._responder = responder
        self._streams = streams
        self._metrics = metrics
        self._rpc = metrics.rpc("bidi_stream", "polserve.v1.PolicyService", "Episode")

    def __call__(self, requests: Iterator[bytes], context: grpc.ServicerContext, send: Send) -> None:
        """Play the episodes that the client asks for; returns when the stream has ended."""
        started = self._rpc.begin()
        stream = _Stream(context, send)
        try:
            self._streams.open(stream)
            self._play(requests, context, stream)
        except Exception as error:  # noqa: BLE001 - every error must become a status
            if context.is_active():
                stream.end(error)
            else:  # the client has gone, which ends the iteration by an error of gRPC's
                stream.code = stream.code or grpc.StatusCode.CANCELLED
        else:
            stream.finish()
        finally:
            self._streams.close(stream)
            stream.playing = None
            self._rpc.end(started, (stream.code or grpc.StatusCode.OK).name)

    def _play(self, requests: Iterator[bytes], context: grpc.ServicerContext, stream: "_Stream") -> None:
        player = _Player(self._responder, self._metrics, context.is_active)
        try:
            self._react(requests, player, stream)
        finally:
            player.forget()  # an error's traceback, which gRPC keeps, would hold the episode's version

    def _react(self, requests: Iterator[bytes], player: "_Player", stream: "_Stream") -> None:
        for message in requests:
            stream.touch()
            if self._streams.is_draining and player.playing is None:
                raise NotReady(DRAINING)
            response = player.react(parse(pb.EpisodeRequest, message))
            stream.playing = player.playing
            stream.send(response.SerializeToString())
            if self._streams.is_draining and player.playing is None:
                raise NotReady(DRAINING)


class _Player:
    """What one stream plays; each request gets a response."""

    def __init__(self, responder: Responder, metrics: AnsweringMetrics, is_wanted: Callable[[], bool]) -> None:
        self._responder = responder
        self._metrics = metrics
        self._is_wanted = is_wanted
        self._episode: Episode | None = None

    @property
    def playing(self) -> Policy | None:
        """The version of the episode that is going on."""
        return self._episode.policy if self._episode else None

    def forget(self) -> None:
        """No episode is going on any more."""
        self._episode = None

    def react(self, request: pb.EpisodeRequest) -> pb.EpisodeResponse:
        """The response to the next request.

        Raises:
            PolserveError: it cannot be answered.
        """
        match request.WhichOneof("message"):
            case "start":
                return self._start(request.start)
            case "step":
                return self._step(self._current("step"), request.step)
            case "end":
                return self._end(self._current("end"), request.end)
            case _:
                raise InvalidRequest("message", "start, step or end", "none of them")

    def _current(self, kind: str) -> Episode:
        if self._episode is None:
            raise InvalidRequest("message", "a start before anything else of an episode", kind)
        return self._episode

    def _start(self, start: pb.EpisodeStart) -> pb.EpisodeResponse:
        policy = self._responder.resolve(start.policy, start.version)
        check_epsilon(policy, start.epsilon)
        self._episode = Episode(policy, with_values=start.with_values, epsilon=start.epsilon)
        if start.HasField("observation"):
            return self._act(self._episode, start)
        return pb.EpisodeResponse(policy=policy.name, version=policy.version)

    def _step(self, episode: Episode, step: pb.EpisodeStep) -> pb.EpisodeResponse:
        if step.HasField("reward"):
            episode.reward(step.reward)
        return self._act(episode, step)

    def _act(self, episode: Episode, request: pb.EpisodeStart | pb.EpisodeStep) -> pb.EpisodeResponse:
        observations = episode.observe(decode_observation(request, episode.contract))
        explored = self._responder.wait(
            episode.policy,
            observations,
            self._is_wanted,
            with_values=episode.with_values,
            epsilon=episode.epsilon,
        )
        return encode_step(episode.policy, episode.step, explored, as_values=has_values_form(request.observation))

    def _end(self, episode: Episode, end: pb.EpisodeEnd) -> pb.EpisodeResponse:
        if end.HasField("reward"):
            episode.reward(end.reward)
        self._episode = None
        policy = episode.policy
        if episode.episode_return is not None:
            self._metrics.policy(policy).observe_return(episode.episode_return)
        return pb.EpisodeResponse(
            policy=policy.name, version=policy.version, step=episode.step, episode_return=episode.episode_return
        )


class _Stream:
    """The way back to the client, shared by the thread that plays and those that may end the stream."""

    def __init__(self, context: grpc.ServicerContext, send: Send) -> None:
        self.playing: Policy | None = None
        self.code: grpc.StatusCode | None = None
        """How it ended; None while it has not."""
        self._context = context
        self._send = send
        self._lock = threading.Lock()
        self._is_sending = False
        self._end_after_send: Status | None = None
        self._last_active = time.monotonic()

    def touch(self) -> None:
        """The client has done something."""
        self._last_active = time.monotonic()

    def idle_s(self) -> float:
        """Seconds since the client last did something."""
        return time.monotonic() - self._last_active

    def send(self, response: bytes) -> None:
        """Send a response; waits while the client reads none."""
        with self._lock:
            self._is_sending = True
        self._send(response)
        with self._lock:
            self._is_sending = False
            status = self._end_after_send
        self.touch()
        if status is not None:
            self._end_with(status)

    def end(self, error: Exception) -> None:
        """End with the status of an error, which is not kept: its traceback would hold the episode's version."""
        self._end_with(status_of(error))

    def _end_with(self, status: Status) -> None:
        with self._lock:
            is_sending, is_stuck = self._is_sending, self._end_after_send is not None
            self._end_after_send = status
        if is_sending:
            if is_stuck:  # behind a response that the client does not read, no status would ever leave
                self.code = status.code
                self._context.cancel()
            return
        if status.trailing_metadata:
            self._context.set_trailing_metadata(status.trailing_metadata)
        self._finish(status.code, status.details)

    def finish(self) -> None:
        """End with OK."""
        self._finish(grpc.StatusCode.OK, "")

    def _finish(self, code: grpc.StatusCode, details: str) -> None:
        with self._lock:
            if self.code is not None:
                return
            self.code = code
        self._context.set_code(code)
        self._context.set_details(details)
        self._send(None)
