"""Errors as gRPC statuses."""

import uuid
from dataclasses import dataclass

import grpc
import structlog

from polserve.serving.errors import (
    Expired,
    InvalidRequest,
    NotReady,
    Overloaded,
    PolserveError,
    UnknownPolicy,
    UnknownVersion,
)

_CODES: dict[type[PolserveError], grpc.StatusCode] = {
    InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    UnknownPolicy: grpc.StatusCode.NOT_FOUND,
    UnknownVersion: grpc.StatusCode.NOT_FOUND,
    NotReady: grpc.StatusCode.UNAVAILABLE,
    Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Expired: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""The status of each error that may reach a client; any other is INTERNAL with an id to search the log for."""

RETRY_HINT = "grpc-retry-pushback-ms"
"""Trailing metadata that gRPC's own retries obey (gRFC A6)."""

MAX_DETAILS_BYTES = 2_000
"""Of a status: it may repeat what the client sent, and gRPC puts an error of its own in the place of a long one."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Status:
    """How a call ends that is not answered."""

    code: grpc.StatusCode
    details: str
    trailing_metadata: tuple[tuple[str, str], ...] = ()


def status_of(error: BaseException) -> Status:
    """The status that tells a client of `error`; what is nobody's fault but ours is logged, under an id."""
    code = _CODES.get(type(error)) if isinstance(error, PolserveError) else None
    if code is None:
        error_id = uuid.uuid4().hex[:12]
        log.error("internal_error", error_id=error_id, exc_info=error)
        return Status(grpc.StatusCode.INTERNAL, f"internal error {error_id}; the server's log has the details")
    details = str(error).encode()[:MAX_DETAILS_BYTES].decode(errors="ignore")
    if isinstance(error, Overloaded):
        return Status(code, details, ((RETRY_HINT, str(round(error.retry_after_s * 1000))),))
    return Status(code, details)
