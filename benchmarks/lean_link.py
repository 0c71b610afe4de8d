"""A client's connection that costs little: HTTP/2 written by hand, for calls that are all alike.

For measurements only: a client on an HTTP/2 library spends more on a call than the service on its refusal. It sends one
request again and again, obeys the service's limits of streams and bytes, and reads nothing of an answer but its status.
"""

import bisect
import socket
import ssl
import struct
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hpack import Encoder
from hpack.struct import NeverIndexedHeaderTuple

from polserve.serving.http2.engine import PREFACE

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM = ACK = 1
END_HEADERS = 4
CANCEL = 8
REFUSED_STREAM = "reset 7"
"""What comes of a call that the service has not looked at."""
HEADER_TABLE_SIZE, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 1, 3, 4, 5
IS_HUFFMAN = 0x80
HEAD = struct.Struct(">BHBBI")
"""Head of a frame: its size in two parts, kind, flags and stream."""
MAX_WINDOW = (1 << 31) - 1
STATUS_NAME: bytes = Encoder().encode([NeverIndexedHeaderTuple(b"grpc-status", b"")])[1:-1]
"""The name as the service sends it: without a table of headers it is always written out."""
MOST_UNWRITTEN = 1 << 20
"""Bytes that wait for the socket from which on no more of large messages is added."""


def frame_of(kind: int, flags: int, stream_id: int, content: bytes = b"") -> bytes:
    """Return a frame of HTTP/2."""
    return HEAD.pack(len(content) >> 16, len(content) & 0xFFFF, kind, flags, stream_id) + content


def literals(headers: Iterable[tuple[str, str]]) -> bytes:
    """Encode headers such that no table of either end changes."""
    encoded: bytes = Encoder().encode(
        [NeverIndexedHeaderTuple(name.encode(), value.encode()) for name, value in headers], huffman=False
    )
    return encoded


@dataclass(slots=True)
class Unsent:
    """A message that is not sent to its end yet."""

    sent: int
    window: int
    """Bytes that the service takes of it at present."""


class Link:
    """A connection, the calls that are open on it, and those that wait for a free stream."""

    def __init__(self, port: int, headers: Iterable[tuple[str, str]], body: bytes, *, is_encrypted: bool) -> None:
        """Connect to a port of this machine; every call has these headers and this body.

        Raises:
            OSError: nothing listens there.
        """
        self.socket: socket.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as gRPC's clients do
        if is_encrypted:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols(["h2"])
            self.socket = context.wrap_socket(self.socket)
        self.socket.setblocking(False)
        self.is_closed = self.is_leaving = False
        """Whether it is at its end, and whether the service asked to call elsewhere."""
        self.due: dict[int, float] = {}
        """When each open call was due, by its stream."""
        self.waiting: deque[float] = deque()
        """When each call was due that has no stream yet."""
        self._body, self._fixed = body, literals(headers)
        self._heads: dict[int, bytes] = {}
        self._begun: deque[int] = deque()
        self._unsent: dict[int, Unsent] = {}
        self._next = 1
        self._max_streams, self._window, self._stream_window, self._max_frame = 100, 65_535, 65_535, 16_384
        self._rest, self._n_unacknowledged = b"", 0
        settings = struct.pack(">HIHI", HEADER_TABLE_SIZE, 0, INITIAL_WINDOW_SIZE, 1 << 20)
        self._out = bytearray(PREFACE + frame_of(SETTINGS, 0, 0, settings))
        self._out += frame_of(WINDOW_UPDATE, 0, 0, struct.pack(">I", MAX_WINDOW - 65_535))

    def call_again(self, due: float) -> None:
        """Have a call wait that was due before: in its place, as the first to be due comes first."""
        bisect.insort(self.waiting, due)

    def flush(self, now: float, timeout_s: float) -> list[float]:
        """Begin the calls that there are streams for, and send what can be sent.

        Returns:
            When each call was due that waited for a stream until its deadline, and is made no more.
        """
        expired = []
        while timeout_s and self.waiting and self.waiting[0] + timeout_s <= now:
            expired.append(self.waiting.popleft())
        n = 0 if self.is_leaving else min(len(self.waiting), self._max_streams - len(self.due))
        for _ in range(n):
            self._begin(self.waiting.popleft(), now, timeout_s)
        self._send_more()
        self._write()
        return expired

    def give_up(self, before: float) -> Iterator[int]:
        """Cancel the open calls that were due before a time; yield their streams."""
        while self._begun and self.due.get(self._begun[0], 0.0) < before:
            stream_id = self._begun.popleft()
            if stream_id in self.due:
                self._unsent.pop(stream_id, None)
                self._out += frame_of(RST_STREAM, 0, stream_id, struct.pack(">I", CANCEL))
                yield stream_id

    def receive(self) -> Iterator[tuple[int, str]]:
        """Yield the streams that have ended, each with the number of its status or what came instead."""
        while not self.is_closed:
            try:
                data = self.socket.recv(1 << 18)
            except (BlockingIOError, ssl.SSLWantReadError):
                return
            except OSError:
                data = b""
            if not data:
                self.is_closed = True
                return
            yield from self._read(self._rest + data)

    def _begin(self, due: float, now: float, timeout_s: float) -> None:
        stream_id, body = self._next, self._body
        self._next += 2
        self.due[stream_id] = due
        if timeout_s:
            self._begun.append(stream_id)
        left_ms = max(1, round(1000 * (due + timeout_s - now))) if timeout_s else 0
        block = self._heads.get(left_ms)
        if block is None:
            block = self._fixed + (literals([("grpc-timeout", f"{left_ms}m")]) if left_ms else b"")
            self._heads[left_ms] = block
        self._out += HEAD.pack(0, len(block), HEADERS, END_HEADERS, stream_id)
        self._out += block
        if len(body) <= min(self._max_frame, self._stream_window, self._window) and not self._unsent:
            self._window -= len(body)
            self._out += frame_of(DATA, END_STREAM, stream_id, body)
        else:
            self._unsent[stream_id] = Unsent(0, self._stream_window)

    def _send_more(self) -> None:
        for stream_id, unsent in list(self._unsent.items()):
            while len(self._out) < MOST_UNWRITTEN:
                end = unsent.sent + min(self._window, unsent.window, self._max_frame)
                part = self._body[unsent.sent : end]
                if not part:
                    break
                unsent.sent += len(part)
                unsent.window -= len(part)
                self._window -= len(part)
                is_last = unsent.sent == len(self._body)
                self._out += frame_of(DATA, END_STREAM if is_last else 0, stream_id, part)
                if is_last:
                    del self._unsent[stream_id]
            if not self._window or len(self._out) >= MOST_UNWRITTEN:
                return

    def _write(self) -> None:
        while self._out:
            try:
                n = self.socket.send(self._out)
            except (BlockingIOError, ssl.SSLWantWriteError):
                return
            except OSError:  # what has come before the end is read all the same
                self._out.clear()
                return
            del self._out[:n]

    def _read(self, data: bytes) -> Iterator[tuple[int, str]]:
        at, n = 0, len(data)
        while at + HEAD.size <= n:
            high, low, kind, flags, stream_id = HEAD.unpack_from(data, at)
            start = at + HEAD.size
            end = start + (high << 16 | low)
            if end > n:
                break
            at = end
            if kind == HEADERS:
                if flags & END_STREAM:
                    if self._unsent.pop(stream_id, None) is not None:
                        self._out += frame_of(RST_STREAM, 0, stream_id, bytes(4))  # as gRPC's clients do
                    yield stream_id, _status(data, start, end)
            elif kind == DATA:
                self._n_unacknowledged += end - start
                if flags & END_STREAM:
                    yield stream_id, "none"
            else:
                yield from self._control(kind, flags, stream_id, data[start:end])
        self._rest = data[at:]
        if self._n_unacknowledged > MAX_WINDOW // 2:
            self._out += frame_of(WINDOW_UPDATE, 0, 0, struct.pack(">I", self._n_unacknowledged))
            self._n_unacknowledged = 0

    def _control(self, kind: int, flags: int, stream_id: int, content: bytes) -> Iterator[tuple[int, str]]:
        if kind == SETTINGS and not flags & ACK:
            self._set(dict(struct.iter_unpack(">HI", content)))
            self._out += frame_of(SETTINGS, ACK, 0)
        elif kind == PING and not flags & ACK:
            self._out += frame_of(PING, ACK, 0, content)
        elif kind == WINDOW_UPDATE:
            (more,) = struct.unpack(">I", content)
            if not stream_id:
                self._window += more
            elif stream_id in self._unsent:
                self._unsent[stream_id].window += more
        elif kind == RST_STREAM:
            self._unsent.pop(stream_id, None)
            yield stream_id, f"reset {struct.unpack('>I', content)[0]}"
        elif kind == GOAWAY:
            self.is_leaving = True
            (last,) = struct.unpack_from(">I", content)
            for unprocessed in [open_id for open_id in self.due if open_id > last]:
                self._unsent.pop(unprocessed, None)
                yield unprocessed, REFUSED_STREAM

    def _set(self, settings: dict[int, int]) -> None:
        self._max_streams = settings.get(MAX_CONCURRENT_STREAMS, self._max_streams)
        self._max_frame = settings.get(MAX_FRAME_SIZE, self._max_frame)
        more = settings.get(INITIAL_WINDOW_SIZE, self._stream_window) - self._stream_window
        self._stream_window += more
        for unsent in self._unsent.values():
            unsent.window += more


def _status(data: bytes, start: int, end: int) -> str:
    """Return the number of the gRPC status among the headers of a frame."""
    at = data.find(STATUS_NAME, start, end)
    if at < 0:
        return "none"
    at += len(STATUS_NAME)
    if data[at] & IS_HUFFMAN:
        raise ValueError(f"grpc-status: expected digits as they are, which are shorter, got {data[at:end]!r}")
    return data[at + 1 : at + 1 + data[at]].decode()
