"""Errors as gRPC statuses."""

from dataclasses import dataclass
from enum import IntEnum

from polserve.protos.shared.calls import REQUEST_ID, RETRY_HINT
from polserve.serving.errors import (
    Expired,
    InvalidRequest,
    NotReady,
    Overloaded,
    PermissionDenied,
    Unauthenticated,
    UnknownPolicy,
    UnknownService,
    UnknownVersion,
    Unsupported,
)
from polserve.serving.http2.wire import ENCODINGS, TooLarge, UnknownEncoding, WireError
from polserve.serving.logs import Log
from polserve.serving.request_ids import RequestId


class Code(IntEnum):
    """The status codes of gRPC."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


_CODES: dict[type[Exception], Code] = {
    InvalidRequest: Code.INVALID_ARGUMENT,
    UnknownPolicy: Code.NOT_FOUND,
    UnknownVersion: Code.NOT_FOUND,
    Unsupported: Code.UNIMPLEMENTED,
    NotReady: Code.UNAVAILABLE,
    Overloaded: Code.RESOURCE_EXHAUSTED,
    Expired: Code.DEADLINE_EXCEEDED,
    Unauthenticated: Code.UNAUTHENTICATED,
    PermissionDenied: Code.PERMISSION_DENIED,
    UnknownService: Code.NOT_FOUND,
    WireError: Code.INTERNAL,
    TooLarge: Code.RESOURCE_EXHAUSTED,
    UnknownEncoding: Code.UNIMPLEMENTED,
}
"""The status of each error that may reach a client; any other is INTERNAL with an id to search the log for."""

_ANONYMOUS = (Code.OK, Code.RESOURCE_EXHAUSTED)
"""Ends of calls that are many, and leave nothing behind to search for."""

MAX_DETAILS_BYTES = 2_000
"""Longest text of a status: it may repeat what the client sent, and gRPC replaces a long one by an error of its own."""

log = Log()


@dataclass(frozen=True, slots=True)
class Status:
    """How a call ends that is not answered."""

    code: Code
    details: str
    trailing_metadata: tuple[tuple[str, str], ...] = ()


OK = Status(Code.OK, "")
"""How a call ends that went well."""


class Rejected(Exception):
    """A call ends with a status that gRPC itself prescribes."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.details)
        self.status = status


def status_of(error: BaseException, request_id: RequestId) -> Status:
    """Return the status that tells a client of `error`; what is nobody's fault but ours is logged, by `request_id`."""
    if isinstance(error, Rejected):
        return error.status
    code = next((_CODES[kind] for kind in type(error).__mro__ if kind in _CODES), None)
    if code is None:
        log.failure("internal_error", error, request_id=str(request_id))
        return Status(Code.INTERNAL, f"internal error {request_id}; the server's log has the details")
    details = str(error).encode()[:MAX_DETAILS_BYTES].decode(errors="ignore")
    return Status(code, details, _trailing(error))


def refusal_reason(error: BaseException) -> str | None:
    """Return in a word what there was no room for where that is why a call is refused; None for any other error."""
    if isinstance(error, Overloaded):
        return error.reason
    is_too_large = isinstance(error, TooLarge) or (
        isinstance(error, Rejected) and error.status.code is Code.RESOURCE_EXHAUSTED
    )
    return "size" if is_too_large else None


def id_returned(status: Status, request_id: RequestId) -> tuple[tuple[str, str], ...]:
    """Return the metadata that tells a client the id of its call.

    Args:
        status: how the call ended.
        request_id: one that nobody knows is made for a call that failed, but not for one that there was no room for:
            to refuse those must cost next to nothing.
    """
    if request_id.is_known or status.code not in _ANONYMOUS:
        return ((REQUEST_ID, str(request_id)),)
    return ()


def _trailing(error: BaseException) -> tuple[tuple[str, str], ...]:
    if isinstance(error, Overloaded):
        return ((RETRY_HINT, str(round(error.retry_after_s * 1000))),)
    if isinstance(error, UnknownEncoding):
        return (("grpc-accept-encoding", ",".join(ENCODINGS)),)
    return ()
