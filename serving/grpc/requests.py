"""What comes before a call's first message: its headers."""

import contextlib
from collections.abc import Mapping, Sequence
from itertools import chain

from polserve.serving.grpc.holding import admit
from polserve.serving.grpc.stream import StreamCall
from polserve.serving.grpc.vigil import WRONG_PROTOCOL
from polserve.serving.http2 import engine
from polserve.serving.http2.wire import parse_timeout
from polserve.serving.methods import Method
from polserve.serving.statuses import Code, Rejected, Status

CONTENT_TYPES = frozenset((b"application/grpc", b"application/grpc+proto"))
ANY_CONTENT_TYPE = b"application/grpc"
"""What a content type of gRPC begins with."""

FIELD_BYTES = 32
"""What HTTP/2 reckons for a header beside its name and value (RFC 9113, section 6.5.2)."""

UNKNOWN_METHOD = Status(Code.UNIMPLEMENTED, "Method not found!")


def http_problem(fields: Mapping[bytes, bytes]) -> bytes | None:
    """Return the status with which HTTP answers headers that are no gRPC's; None where they are."""
    if fields.get(b":method") != b"POST":
        return b"405"
    return None if fields.get(b"content-type", b"").startswith(ANY_CONTENT_TYPE) else b"415"


def refuse_http(h2: engine.Connection, stream_id: int, status: bytes) -> None:
    """Answer a request that is none of gRPC with a status of HTTP; nothing where its stream has ended."""
    headers = ((b":status", status), (b"content-type", b"text/plain"))
    with contextlib.suppress(engine.NGH2Error):
        h2.send_response(stream_id, headers)
        h2.send_data(stream_id, WRONG_PROTOCOL, end_stream=True)


def begin(call: StreamCall, headers: Sequence[engine.Header], fields: Mapping[bytes, bytes], unknown: Method) -> None:
    """Take in what a call's headers say; raises what refuses it.

    Args:
        call: has just come.
        headers: all that came of it.
        fields: the first of those of each name.
        unknown: the method of calls whose method does not exist.
    """
    _check_size(headers, fields, call.connection.limits.max_metadata_bytes)
    if call.method is unknown:
        raise Rejected(UNKNOWN_METHOD)
    content_type = fields[b"content-type"]
    if content_type not in CONTENT_TYPES and content_type.partition(b";")[0].strip() not in CONTENT_TYPES:
        details = f"content-type: expected application/grpc or application/grpc+proto, got {content_type[:80]!r}"
        raise Rejected(Status(Code.UNIMPLEMENTED, details))
    timeout = fields.get(b"grpc-timeout")
    if timeout is not None:
        call.deadline = call.started + parse_timeout(timeout)
    encoding = fields.get(b"grpc-encoding")
    if encoding is not None:
        call.use_encoding(encoding.decode("latin-1"))
    admit(call, fields)


def _check_size(headers: Sequence[engine.Header], fields: Mapping[bytes, bytes], most: int) -> None:
    if len(fields) == len(headers):  # none comes twice
        n_bytes = len(b"".join(fields)) + len(b"".join(fields.values()))
    else:
        n_bytes = sum(map(len, chain.from_iterable(headers)))
    n_bytes += FIELD_BYTES * len(headers)
    if n_bytes > most:
        allowed = f"metadata: {most >> 10} KiB are allowed, and these are {n_bytes} bytes"
        raise Rejected(Status(Code.RESOURCE_EXHAUSTED, f"{allowed}: send less, or raise --max-metadata-kib"))
