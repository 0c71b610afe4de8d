"""HTTP/2 itself: the only module that imports ngh2, which binds nghttp2.

ngh2 is young: it is pinned exactly, and used only after `self_test` has seen it work.
"""

import contextlib
from collections.abc import Callable, Iterable

from ngh2 import (
    Configuration,
    Connection,
    ConnectionClosed,
    DataReceived,
    ErrorCode,
    GoAwayReceived,
    Header,
    NGH2Error,
    PingAcknowledged,
    PingReceived,
    RequestReceived,
    ResponseReceived,
    Role,
    Setting,
    StreamClosed,
    StreamReset,
    StreamUnavailableError,
    TrailersReceived,
    WindowUpdated,
)

__all__ = [
    "Connection",
    "ConnectionClosed",
    "DataReceived",
    "ErrorCode",
    "GoAwayReceived",
    "Header",
    "NGH2Error",
    "PingAcknowledged",
    "PingReceived",
    "RequestReceived",
    "ResponseReceived",
    "StreamClosed",
    "StreamReset",
    "TrailersReceived",
    "WindowUpdated",
    "client_connection",
    "limit_streams",
    "self_test",
    "server_connection",
    "widen",
]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What an HTTP/2 client sends first."""
MAX_HEADER_LIST_BYTES = 16 * 1024
TIMES_READ = 4
"""Headers are read up to this multiple of their limit, so that a call above it can be refused alone."""
MAX_FRAME_BYTES = 1 << 20
LEAST_FRAME_BYTES = 1 << 14
"""Size of frames that a peer always may send."""
LEAST_FIELD_BYTES = 33
"""What a header is reckoned as at least."""
MOST_CONTINUATIONS = 8
"""Frames that headers of the usual size may be split into."""
STREAM_WINDOW_BYTES = 1 << 20
"""What a peer may send on a stream before it is acknowledged as consumed."""
CONNECTION_WINDOW_BYTES = 16 << 20


def server_connection(max_streams: int, max_header_bytes: int = MAX_HEADER_LIST_BYTES) -> Connection:
    """Make the service's end of a new connection.

    Args:
        max_streams: calls that the client may have open at once, as it is told.
        max_header_bytes: metadata that a call may have, as it is told. `TIMES_READ` times as much is read; a client
            that sends more loses the connection.
    """
    most_read = TIMES_READ * max_header_bytes
    limits = Configuration(
        auto_window_update=False,
        max_inbound_header_list_size=most_read,
        max_inbound_header_count=most_read // LEAST_FIELD_BYTES,
        max_outbound_ack=1_000,
        max_settings=32,
        max_continuations=max(MOST_CONTINUATIONS, most_read // LEAST_FRAME_BYTES + 1),
        stream_reset_rate_limit=(10_000, 1_000),
        glitch_rate_limit=(10_000, 330),
    )
    connection = Connection(Role.SERVER, limits)
    connection.initiate_connection(
        {
            Setting.MAX_CONCURRENT_STREAMS: max_streams,
            Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
            Setting.MAX_FRAME_SIZE: MAX_FRAME_BYTES,
            Setting.MAX_HEADER_LIST_SIZE: max_header_bytes,
        }
    )
    connection.set_local_window_size(CONNECTION_WINDOW_BYTES)
    return connection


def limit_streams(connection: Connection, n_bytes: int) -> None:
    """Let the peer send so much on each stream before it is acknowledged as consumed, from when it has heard of it."""
    connection.update_settings({Setting.INITIAL_WINDOW_SIZE: n_bytes})


def widen(connection: Connection, stream_id: int) -> None:
    """Let the peer send as much on one stream as is usual; nothing where it has ended."""
    with contextlib.suppress(StreamUnavailableError):
        connection.set_local_window_size(STREAM_WINDOW_BYTES, stream_id=stream_id)


def client_connection() -> Connection:
    """Make the client's end of a new connection."""
    connection = Connection(Role.CLIENT, Configuration(max_inbound_header_list_size=MAX_HEADER_LIST_BYTES))
    connection.initiate_connection(
        {
            Setting.ENABLE_PUSH: 0,
            Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
            Setting.MAX_FRAME_SIZE: MAX_FRAME_BYTES,
        }
    )
    connection.set_local_window_size(CONNECTION_WINDOW_BYTES)
    return connection


class SelfTestFailed(Exception):
    """HTTP/2 does not work on this machine as it must."""


def self_test() -> None:
    """Play a client and a server in memory: a call, a reset, flow control, and a peer that breaks the rules.

    Raises:
        SelfTestFailed: something was not as it must be.
    """
    server, client = server_connection(10), client_connection()
    request = (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/a/b"),
        (b":authority", b"x"),
        (b"te", b"trailers"),
    )
    stream_id = client.send_request(request)
    body = bytes(range(256)) * 512  # more than the 64 KiB that a stream may send before the settings have arrived
    client.send_data(stream_id, body, end_stream=True)
    received = _exchange(client, server)
    _require(received, "a request's headers", lambda event: type(event) is RequestReceived and event.headers == request)
    data = [event for event in received if type(event) is DataReceived]
    if b"".join(event.data for event in data) != body or not data[-1].end_stream:
        raise SelfTestFailed("a request's body did not arrive as it was sent")
    server.acknowledge_received_data(len(body), stream_id)
    server.send_response(stream_id, ((b":status", b"200"),))
    server.send_data(stream_id, body)
    server.send_trailers(stream_id, ((b"grpc-status", b"0"),))
    answered = _exchange(server, client)
    _require(answered, "trailers", lambda event: type(event) is TrailersReceived and event.stream_id == stream_id)
    _require(answered, "a response", lambda event: type(event) is ResponseReceived)
    if b"".join(event.data for event in answered if type(event) is DataReceived) != body:
        raise SelfTestFailed("a response's body did not arrive as it was sent")
    stream_id = client.send_request(request)
    _exchange(client, server)
    client.reset_stream(stream_id, ErrorCode.CANCEL)
    _require(_exchange(client, server), "a reset", lambda event: type(event) is StreamClosed)
    try:
        server.send_response(stream_id, ((b":status", b"200"),))
    except NGH2Error:
        pass
    else:
        raise SelfTestFailed("an answer to a stream that was reset was taken")
    try:
        server_connection(1).receive_data(b"GET / HTTP/1.1\r\n\r\n" + bytes(100))
    except NGH2Error:
        return
    raise SelfTestFailed("what is no HTTP/2 was taken as such")


def _exchange(sender: Connection, receiver: Connection) -> list[object]:
    """Pass bytes both ways until there are none; returns what the receiver met."""
    met: list[object] = []
    while True:
        there, back = sender.data_to_send(), receiver.data_to_send()
        if not there and not back:
            return met
        if there:
            receiver.receive_data(there)
            met.extend(receiver.events())
        if back:
            sender.receive_data(back)
            sender.events()


def _require(events: Iterable[object], what: str, condition: Callable[[object], bool]) -> None:
    if not any(condition(event) for event in events):
        raise SelfTestFailed(f"{what} did not arrive")
