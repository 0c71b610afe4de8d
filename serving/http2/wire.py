"""What gRPC writes into HTTP/2: messages with their lengths, deadlines, percent-encoded texts, binary metadata.

After https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md.
"""

import base64
import binascii
import re
import urllib.parse
import zlib

PREFIX_BYTES = 5
"""Length of what precedes each message: one byte of flag, four of length."""
ENCODINGS = ("identity", "deflate", "gzip")

_UNITS_S = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_WBITS = {"deflate": zlib.MAX_WBITS, "gzip": zlib.MAX_WBITS | 16}
_UNESCAPED = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


class WireError(Exception):
    """A peer breaks a rule of gRPC's; the message is for the peer."""


class TooLarge(WireError):
    """A message is larger than it may be."""


class UnknownEncoding(WireError):
    """A message is compressed in a way that is not known here."""


def frame(message: bytes) -> bytes:
    """Return the message with its prefix, uncompressed."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def parse_timeout(value: bytes) -> float:
    """Seconds of a `grpc-timeout`; raises WireError."""
    found = _TIMEOUT.fullmatch(value)
    if found is None:
        raise WireError(f"grpc-timeout: expected at most 8 digits and one of H M S m u n, got {value[:20]!r}")
    return int(found[1]) * _UNITS_S[found[2]]


def format_timeout(seconds: float) -> bytes:
    """Return the `grpc-timeout` of so many seconds, rounded up, in the finest unit that takes at most 8 digits."""
    for unit in (b"u", b"m", b"S", b"M", b"H"):
        number = -int(-max(0.0, seconds) / _UNITS_S[unit] // 1)
        if number < 10**8:
            return b"%d%s" % (number, unit)
    return b"99999999H"


def percent_encode(text: str) -> bytes:
    """Return the text as `grpc-message` has it."""
    return urllib.parse.quote(text, safe=_UNESCAPED).encode()


def percent_decode(value: bytes) -> str:
    """Return the text of a `grpc-message`; what is no valid encoding stays as it is."""
    return urllib.parse.unquote_to_bytes(value).decode(errors="replace")


def encode_binary(value: bytes) -> bytes:
    """Return the value of a header whose name ends in `-bin`: base64 without padding."""
    return base64.b64encode(value).rstrip(b"=")


def decode_binary(value: bytes) -> list[bytes]:
    """Return the values of a header whose name ends in `-bin`, with or without padding, joined by commas.

    Raises:
        WireError: one is no base64.
    """
    try:
        return [
            base64.b64decode(part.strip() + b"=" * (-len(part.strip()) % 4), validate=True)
            for part in value.split(b",")
        ]
    except binascii.Error as error:
        raise WireError(f"binary metadata: expected base64, got {value[:40]!r}") from error


def decompress(data: bytes, encoding: str, limit: int) -> bytes:
    """Decompress a message.

    Raises:
        UnknownEncoding: in a way that is not known here.
        TooLarge: it is larger than `limit`, and only so much of it was decompressed.
        WireError: the data are damaged, or the encoding is "identity", which compresses nothing.
    """
    if encoding in ("", "identity"):
        raise WireError("the message's flag says that it is compressed, and grpc-encoding does not say how")
    if encoding not in _WBITS:
        known = ", ".join(ENCODINGS)
        raise UnknownEncoding(f"grpc-encoding: expected one of {known}, got {encoding[:40]!r}")
    decompressor = zlib.decompressobj(_WBITS[encoding])
    try:
        found = decompressor.decompress(data, limit + 1)
    except zlib.error as error:
        raise WireError(f"the message is no {encoding}: {error}") from error
    if len(found) > limit:
        raise TooLarge(f"message: expected at most {limit} bytes when decompressed, got more")
    if not decompressor.eof:
        raise WireError(f"the message is no {encoding}: it ends too soon")
    return found


def whole_message(data: bytes) -> bytes | None:
    """Return the message of `data` where they are one uncompressed message with its prefix, no more and no less."""
    size = len(data) - PREFIX_BYTES
    is_whole = size >= 0 and data[0] == 0 and int.from_bytes(data[1:PREFIX_BYTES], "big") == size
    return data[PREFIX_BYTES:] if is_whole else None


class MessageReader:
    """Puts messages together from the pieces in which HTTP/2 brings them."""

    __slots__ = ("_chunks", "_limit", "_size", "_wanted", "flag")

    def __init__(self, limit: int) -> None:
        """`limit` is in bytes."""
        self._limit = limit
        self._chunks: list[bytes] = []
        self._size = 0
        self._wanted = -1
        """Bytes of the message that is being read; -1 while its prefix is."""
        self.flag = 0
        """Flag of the message that `feed` gave last; not 0 where it is compressed."""

    @property
    def wanted(self) -> int:
        """Bytes of the message that is being read, or 0 where its length is not known."""
        return max(0, self._wanted)

    @property
    def n_received(self) -> int:
        """Bytes of the message that is being read, as far as they have come."""
        return self._size

    @property
    def is_between(self) -> bool:
        """Whether no part of a message has been read that is not whole."""
        return self._wanted < 0 and not self._size

    def feed(self, data: bytes) -> list[tuple[int, list[bytes]]]:
        """Take the next bytes; returns the messages that are whole now: each one's flag and its pieces.

        Raises:
            TooLarge: a message is larger than the limit, by its prefix.
            WireError: a flag is neither 0 nor 1.
        """
        whole: list[tuple[int, list[bytes]]] = []
        self._chunks.append(data)
        self._size += len(data)
        while True:
            if self._wanted < 0:
                if self._size < PREFIX_BYTES:
                    return whole
                prefix = self._take(PREFIX_BYTES)
                head = prefix[0] if len(prefix) == 1 else b"".join(prefix)
                self.flag, self._wanted = head[0], int.from_bytes(head[1:], "big")
                if self.flag > 1:
                    raise WireError(f"a message begins with the flag 0 or 1, got {self.flag}")
                if self._wanted > self._limit:
                    raise TooLarge(f"message: expected at most {self._limit} bytes, got {self._wanted}")
            if self._size < self._wanted:
                return whole
            whole.append((self.flag, self._take(self._wanted)))
            self._wanted = -1

    def _take(self, n: int) -> list[bytes]:
        """Cut the first n bytes off what was read."""
        taken: list[bytes] = []
        self._size -= n
        for i, chunk in enumerate(self._chunks):
            if len(chunk) > n:
                taken.append(chunk[:n])
                self._chunks[: i + 1] = [chunk[n:]]
                return taken
            taken.append(chunk)
            n -= len(chunk)
        self._chunks.clear()
        return taken
