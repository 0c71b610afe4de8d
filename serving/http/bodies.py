"""Bodies of requests: read up to a limit, within the room that all of them share, and decompressed."""

import asyncio
from http import HTTPStatus

from polserve.serving.errors import InvalidRequest, Overloaded
from polserve.serving.http.messages import ClientGone, HttpError, Message, Receive
from polserve.serving.http2.wire import TooLarge, WireError, decompress
from polserve.serving.statuses import Code

ROOM_BYTES = 256 * 2**20
"""Bytes of all bodies in hand, at most."""
ENCODINGS = ("gzip", "deflate")
RETRY_AFTER_S = 1.0


class Room:
    """Bytes that the bodies in hand may take together; those that have come are counted, decompressed ones too."""

    def __init__(self, limit: int = ROOM_BYTES) -> None:
        self._limit = limit
        self._taken = 0

    def take(self, n_bytes: int) -> None:
        """Set room aside; raises Overloaded where there is none."""
        if self._taken + n_bytes > self._limit:
            raise Overloaded(
                f"{self._taken >> 20} MiB of bodies are in hand, which is the limit", RETRY_AFTER_S, "bodies"
            )
        self._taken += n_bytes

    def give_back(self, n_bytes: int) -> None:
        """Make room again."""
        self._taken -= n_bytes


class BodyReader:
    """Reads the body of one request."""

    __slots__ = ("_receive", "_room", "taken")

    def __init__(self, receive: Receive, room: Room) -> None:
        self._receive = receive
        self._room = room
        self.taken = 0
        """Bytes of the room that it holds."""

    async def read(self, most: int, length: bytes | None, encoding: bytes | None) -> bytes:
        """Return the body, decompressed.

        Args:
            most: bytes that it may have, compressed and not. A longer one is refused by its length, before it is read.
            length: header that says how long it is, if there is one.
            encoding: header that says how it is compressed, if there is one.

        Raises:
            HttpError: it is longer, or compressed in a way that is not known here.
            ClientGone: its end never came.
            InvalidRequest: it cannot be decompressed.
            Overloaded: there is no room for it now.
        """
        if length is not None and int(length) > most:
            raise too_large(most, f"{int(length)} bytes")
        body = await self._read(most)
        if encoding is None or encoding in (b"", b"identity"):
            return body
        body = await asyncio.get_running_loop().run_in_executor(
            None, decompressed, body, encoding.decode("latin-1").lower(), most
        )
        self._take(len(body))
        return body

    async def _read(self, most: int) -> bytes:
        message = await self._receive()
        body = _piece(message)
        if not message.get("more_body", False) and len(body) <= most:  # in one piece, as most are
            return body
        pieces, n = [body], len(body)
        while message.get("more_body", False) and n <= most:
            self._take(len(pieces[-1]))
            message = await self._receive()
            pieces.append(_piece(message))
            n += len(pieces[-1])
        if n > most:
            raise too_large(most, "more")
        return b"".join(pieces)

    def _take(self, n_bytes: int) -> None:
        """Set room aside until the request is answered; raises Overloaded where there is none."""
        self._room.take(n_bytes)
        self.taken += n_bytes


def decompressed(body: bytes, encoding: str, most: int) -> bytes:
    """Return a body decompressed; raises HttpError or InvalidRequest."""
    if encoding not in ENCODINGS:
        message = f"content-encoding: expected one of {', '.join(ENCODINGS)}, or none, got {encoding[:40]!r}"
        headers = ((b"accept-encoding", ", ".join(ENCODINGS).encode()),)
        raise HttpError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, Code.INVALID_ARGUMENT, message, headers)
    try:
        return decompress(body, encoding, most)
    except TooLarge:
        raise too_large(most, "more when decompressed") from None
    except WireError:
        expected = f"{encoding}, as content-encoding says"
        raise InvalidRequest("body", expected, "something else, or not all of it") from None


def too_large(most: int, got: str) -> HttpError:
    """Return the error that refuses a body of more than `most` bytes."""
    remedy = "send fewer observations at once, or large ones as bytes: POST /v2/models/NAME/infer, or gRPC"
    message = f"body: expected at most {most} bytes, got {got}; {remedy}"
    return HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, Code.RESOURCE_EXHAUSTED, message)


def _piece(message: Message) -> bytes:
    if message["type"] != "http.request":
        raise ClientGone
    piece: bytes = message.get("body", b"")
    return piece
