"""A client of hyper-h2's parts, which is another opinion on HTTP/2; it sends any frame in any order."""

import socket
import time
from dataclasses import dataclass, field
from typing import Self

from hpack import Decoder, Encoder
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.support.http2 import ACT, PATIENCE_S, Stream, read

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEAD = 9
"""Bytes of a frame before its content."""


@dataclass
class Met:
    """What a service has sent on a connection."""

    streams: dict[int, Stream] = field(default_factory=dict)
    goaway: int | None = None
    """Error code of the GOAWAY; None where none came."""
    is_closed: bool = False


class HyperPeer:
    """One connection; nothing holds it to the rules."""

    def __init__(
        self,
        target: str,
        settings: dict[int, int] | None = None,
        *,
        greets: bool = True,
        pings_back: bool = False,
    ) -> None:
        """Connect, and greet; with `pings_back` answer all data by a ping too, as clients of Go do."""
        host, port = target.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=10)
        self.met = Met()
        self._encoder, self._decoder = Encoder(), Decoder()
        self._rest = b""
        self._pings_back = pings_back
        if greets:
            self.send(PREFACE, SettingsFrame(0, settings or {}))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *frames: Frame | bytes) -> None:
        """Send frames, or what shall look like some; nothing where the service has hung up."""
        self.send_bytes(b"".join(frame if isinstance(frame, bytes) else frame.serialize() for frame in frames))

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are; nothing where the service has hung up."""
        self.socket.settimeout(10)
        try:
            self.socket.sendall(data)
        except OSError:
            self.met.is_closed = True

    def block(self, path: str = ACT, *more: tuple[str, str]) -> bytes:
        """A block of gRPC's headers, and more of them."""
        usual = ((":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "polserve"))
        grpc = (("content-type", "application/grpc"), ("te", "trailers"))
        return self._encoder.encode([*usual, *grpc, *more], huffman=False)

    def field(self, name: str, value: str = "") -> bytes:
        """One header, as part of a block."""
        return self._encoder.encode([(name, value)], huffman=False)

    def headers(self, stream_id: int, path: str = ACT, *more: tuple[str, str], end: bool = False) -> HeadersFrame:
        """The headers that begin a call."""
        flags = ["END_HEADERS", "END_STREAM"] if end else ["END_HEADERS"]
        return HeadersFrame(stream_id, self.block(path, *more), flags=flags)

    def call(self, stream_id: int, path: str, body: bytes) -> Stream:
        """Make a whole call, and return what came back."""
        self.send(self.headers(stream_id, path), DataFrame(stream_id, body, flags=["END_STREAM"]))
        return self.wait(stream_id)

    def wait(self, stream_id: int) -> Stream:
        """Return what came on a stream, once it is over or the service has hung up."""
        until = time.monotonic() + PATIENCE_S
        while not (self.stream(stream_id).is_closed or self.met.is_closed) and time.monotonic() < until:
            self.pump(0.5)
        return self.stream(stream_id)

    def wait_for_end(self) -> Met:
        """Return what came, once the service has hung up."""
        until = time.monotonic() + PATIENCE_S
        while not self.met.is_closed and time.monotonic() < until:
            self.pump(0.5)
        return self.met

    def stream(self, stream_id: int) -> Stream:
        """What came on a stream."""
        return self.met.streams.setdefault(stream_id, Stream())

    def pump(self, seconds: float) -> None:
        """Take in what comes next, if it comes within so long."""
        data = read(self.socket, seconds)
        if data is None:
            return
        self.met.is_closed = not data
        self._rest += data
        while len(self._rest) >= FRAME_HEAD:
            frame, size = Frame.parse_frame_header(memoryview(self._rest[:FRAME_HEAD]))
            if len(self._rest) < FRAME_HEAD + size:
                return
            frame.parse_body(memoryview(self._rest[FRAME_HEAD : FRAME_HEAD + size]))
            self._rest = self._rest[FRAME_HEAD + size :]
            self._take(frame)

    def _take(self, frame: Frame) -> None:
        stream = self.stream(frame.stream_id)
        match frame:
            case GoAwayFrame():
                self.met.goaway = frame.error_code
            case RstStreamFrame():
                stream.reset, stream.is_closed = frame.error_code, True
            case HeadersFrame():
                fields = {str(name): str(value) for name, value in self._decoder.decode(frame.data)}
                if stream.headers:
                    stream.trailers = fields
                else:
                    stream.headers = fields
            case DataFrame():
                stream.data += frame.data
                acknowledged = [WindowUpdateFrame(place, len(frame.data)) for place in (0, frame.stream_id)]
                if frame.data:
                    self.send(*acknowledged, *([PingFrame(0, b"12345678")] if self._pings_back else []))
            case PingFrame() if "ACK" not in frame.flags:
                self.send(PingFrame(0, frame.opaque_data, flags=["ACK"]))
            case SettingsFrame() if "ACK" not in frame.flags:
                self.send(SettingsFrame(0, flags=["ACK"]))
        if "END_STREAM" in frame.flags:
            stream.is_closed = True
