"""Targets that answer calls: any messages to any method, and any bytes to a connection of the nghttp2 front.

The front has two: one with nothing else to do, and one whose calls are refused, since so many wait before them.
"""

import asyncio
import functools
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry

from polserve.protos.polserve.oip.v2 import inference_pb2 as oip
from polserve.protos.polserve.v1 import budget_pb2, policy_pb2
from polserve.protos.tensors import to_tensor
from polserve.serving.access.guard import AccessRules, Guard
from polserve.serving.episodes import EpisodeLimits, OpenStreams
from polserve.serving.grpc.connection import Connection
from polserve.serving.grpc.nghttp2 import Nghttp2Carrier, Uncounted
from polserve.serving.grpc.shared import ConnectionLimits, Front
from polserve.serving.handlers.health import Health
from polserve.serving.handlers.methods import MethodParts, make_methods
from polserve.serving.handlers.oip.service import ModelLimits
from polserve.serving.http2.engine import ErrorCode, client_connection
from polserve.serving.http2.wire import frame
from polserve.serving.inference.inference import Capacity, Inference
from polserve.serving.methods import Method
from polserve.serving.metrics.answers import AnsweringMetrics
from polserve.serving.rounds import Rounds
from polserve.serving.statuses import Code, status_of
from tests.fuzz.target import Fault, Target, joined, no_faults, pieces
from tests.support.calls import ReceivedCall, catalog_of
from tests.support.spaces import make_arm_version, make_memory_version
from tests.support.versions import make_allocator_version, make_frames_version, make_version

OBSERVATION = to_tensor(np.zeros(4, np.float32))
MANY, MANY_S = 10_000, 10.0
"""Calls that wait before those of a client that comes when there is a crowd, and the time that they take."""


class RawCall(ReceivedCall):
    """A call whose messages are any bytes."""

    def ask(self, request: Any) -> None:
        """Let the client send bytes."""
        self.message = request if isinstance(request, bytes) else request.SerializeToString()
        self.size = len(self.message)


@functools.cache
def methods() -> list[Method]:
    """Every method, with policies of every kind."""
    metrics = AnsweringMetrics(CollectorRegistry())
    versions = (make_version(), make_frames_version(), make_arm_version(), make_memory_version())
    catalog = catalog_of(*versions, make_allocator_version())
    inference = Inference(metrics, np.random.default_rng(0), Capacity(64, 64), lambda posted: posted())
    limits = EpisodeLimits(max_open=1000, max_state_bytes=1 << 26, idle_s=60, retired_s=60)
    streams = OpenStreams(limits, catalog.is_live, lambda _n: None)
    parts = MethodParts(
        catalog, inference, streams, Health(), metrics, lambda posted: posted(), metrics.statistics, ModelLimits(64, 60)
    )
    return make_methods(parts, metrics.rpc)


def method_number(name: str) -> bytes:
    """Return the byte by which a seed says which method it calls."""
    return bytes([[method.name for method in methods()].index(name)])


def run_calls(data: bytes) -> None:
    """Call a method, which the first byte chooses, with the messages in the rest."""
    if not data:
        return
    method = methods()[data[0] % len(methods())]
    if method.kind == "server_stream":  # a watcher waits for more
        return
    with no_faults():
        sent = pieces(data[1:])[: 1 if method.kind == "unary" else 64]
        call: Any = RawCall(policy_pb2.ActRequest())
        try:
            method.handler.open(call)
            for message in sent:
                if call.is_over:
                    break
                call.ask(message)
                n = len(call.replies)
                method.handler.handle([call])
                if not call.is_over and len(call.replies) != n + 1:
                    raise Fault(f"{method.name} answered a message {len(call.replies) - n} times")
        finally:
            _close(method, call)
    if call.error is not None and status_of(call.error, call.request_id).code is Code.UNKNOWN:
        raise Fault(str(call.error))


def _close(method: Method, call: Any) -> None:
    if call.error is not None:
        status_of(call.error, call.request_id)  # logs what is no fault of the caller's
    call.is_over = True
    method.handler.close(call)


class Sink:
    """A transport that throws away what is written to it."""

    def __init__(self) -> None:
        self.is_closed = False

    def write(self, data: bytes) -> None:
        """Throw it away."""

    def close(self) -> None:
        """Close it."""
        self.is_closed = True

    abort = close

    def is_closing(self) -> bool:
        """Whether it is closed."""
        return self.is_closed

    def get_extra_info(self, name: str) -> Any:
        """Say where the client is."""
        return ("192.0.2.1", 4242) if name == "peername" else None

    def set_write_buffer_limits(self, high: int) -> None:
        """Take any limit."""

    def get_write_buffer_size(self) -> int:
        """Return 0: it is always empty."""
        return 0

    def pause_reading(self) -> None:
        """Go on all the same."""

    resume_reading = pause_reading


@functools.cache
def front(*, is_crowded: bool) -> tuple[asyncio.AbstractEventLoop, Front]:
    """What connections share, where there is a crowd and where there is none."""
    del is_crowded
    loop = asyncio.new_event_loop()
    rounds = Rounds(loop, lambda: None)
    limits = ConnectionLimits(1 << 20, 64, 1 << 24, 60.0, float("inf"))
    carrier = Nghttp2Carrier(methods(), rounds, limits)
    unknown = Method("", "", "unary", methods()[0].handler, Uncounted())
    by_path = {method.path.encode(): method for method in methods()}
    guard = Guard(AccessRules())
    return loop, Front(by_path, unknown, rounds, limits, loop, carrier.connections, lost=lambda: None, guard=guard)


async def _turns() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


def run_front(data: bytes, *, is_crowded: bool = False) -> None:
    """Let a client say something, in two parts, and go."""
    loop, shared = front(is_crowded=is_crowded)
    with no_faults():
        if is_crowded:
            shared.rounds.pressure.note_round(MANY, n_answered=MANY, seconds=MANY_S)
        connection = Connection(shared)

        def talk() -> None:
            connection.connection_made(Sink())
            for part in (data[: len(data) // 2], data[len(data) // 2 :]):
                if part:
                    connection.data_received(part)

        async def session() -> None:
            talk()
            await _turns()
            connection.connection_lost(None)
            await _turns()

        loop.run_until_complete(session())
    if shared.limits.reserved_bytes or shared.connections:
        raise Fault(f"{shared.limits.reserved_bytes} bytes and {len(shared.connections)} connections are left")


def spoken(*calls: tuple[str, list[bytes]], token: str = "", is_given_up: bool = False) -> bytes:
    """Return what a client of HTTP/2 says that makes these calls, with a token where one is given, or gives them up."""
    client, said = client_connection(), bytearray()
    for path, messages in calls:
        headers = (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path.encode()),
            (b":authority", b"polserve"),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            (b"grpc-timeout", b"5S"),
            (b"x-request-id", b"order-4711"),
            (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            *([(b"authorization", b"Bearer " + token.encode())] if token else []),
        )
        stream = client.send_request(headers)
        said += client.data_to_send()
        if is_given_up:
            client.reset_stream(stream, ErrorCode.CANCEL)
        else:
            client.send_data(stream, b"".join(map(frame, messages)), end_stream=True)
        said += client.data_to_send()
    return bytes(said)


def _texts(*messages: Any) -> list[bytes]:
    return [message.SerializeToString() for message in messages]


ACT = _texts(policy_pb2.ActRequest(policy="cartpole", observation=OBSERVATION, with_values=True))
EPISODE = _texts(
    policy_pb2.EpisodeRequest(start=policy_pb2.EpisodeStart(policy="cartpole", observation=OBSERVATION)),
    policy_pb2.EpisodeRequest(step=policy_pb2.EpisodeStep(observation=OBSERVATION, reward=1.0)),
    policy_pb2.EpisodeRequest(end=policy_pb2.EpisodeEnd(reward=1.0)),
)
SLOTS = _texts(
    policy_pb2.EpisodeRequest(
        start=policy_pb2.EpisodeStart(policy="cartpole", slots=3, observation=to_tensor(np.zeros((3, 4), np.float32)))
    ),
    policy_pb2.EpisodeRequest(step=policy_pb2.EpisodeStep(observation=to_tensor(np.zeros((3, 4), np.float32)))),
)
INFER = _texts(
    oip.ModelInferRequest(
        model_name="cartpole",
        inputs=[oip.ModelInferRequest.InferInputTensor(name="observation", datatype="FP32", shape=[1, 4])],
        raw_input_contents=[bytes(16)],
        parameters={
            "sequence_id": oip.InferParameter(int64_param=7),
            "sequence_start": oip.InferParameter(bool_param=True),
        },
    )
)
ALLOCATE = _texts(
    budget_pb2.AllocateRequest(
        policy="adbudget",
        horizon_days=7,
        total_micros=1_000_000,
        remaining_micros=1_000_000,
        channels=[budget_pb2.ChannelState(name=name) for name in ("facebook", "instagram")],
    )
)
SESSIONS = {"Act": ACT, "Episode": EPISODE, "ModelInfer": INFER, "ModelStreamInfer": INFER, "Allocate": ALLOCATE}


@functools.cache
def call_targets() -> dict[str, Target]:
    """Make the targets, by name."""
    paths = {method.name: method.path for method in methods()}
    seeds = [method_number(name) + joined(*messages) for name, messages in SESSIONS.items()]
    seeds.append(method_number("Episode") + joined(*SLOTS))
    talks = [spoken((paths[name], messages)) for name, messages in SESSIONS.items()]
    all_calls = [(paths[name], messages) for name, messages in SESSIONS.items()]
    talks += [spoken(*all_calls), spoken(*all_calls, is_given_up=True)]
    crowded = functools.partial(run_front, is_crowded=True)
    return {
        "calls": Target(run_calls, seeds),
        "front": Target(run_front, talks),
        "crowded-front": Target(crowded, talks),
    }
