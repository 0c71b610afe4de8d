"""What a call over HTTP/2 ends with: gRPC's trailers."""

from polserve.protos.shared.calls import REQUEST_ID
from polserve.serving.http2.engine import Header
from polserve.serving.http2.wire import percent_encode
from polserve.serving.request_ids import RequestId
from polserve.serving.statuses import Status, id_returned

OK: tuple[Header, ...] = ((b"grpc-status", b"0"),)
_REQUEST_ID = REQUEST_ID.encode()


def ok_trailers(request_id: RequestId) -> tuple[Header, ...]:
    """Return how a call ends well: with its id, where that is known."""
    return (*OK, *id_trailers(request_id)) if request_id.is_known else OK


def id_trailers(request_id: RequestId) -> tuple[Header, ...]:
    """Return the id of a call, where that is known."""
    return ((_REQUEST_ID, str(request_id).encode()),) if request_id.is_known else ()


def trailers_of(status: Status, request_id: RequestId) -> list[Header]:
    """Return how a call ends with a status."""
    trailers: list[Header] = [(b"grpc-status", b"%d" % status.code)]
    if status.details:
        trailers.append((b"grpc-message", percent_encode(status.details)))
    metadata = (*status.trailing_metadata, *id_returned(status, request_id))
    trailers.extend((name.encode(), value.encode()) for name, value in metadata)
    return trailers
