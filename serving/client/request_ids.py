"""Request ids of the client: which one its calls are given, and which one the service told of a call that failed."""

from contextvars import ContextVar
from typing import Any

from polserve.protos.shared.calls import REQUEST_ID

given_id: ContextVar[str | None] = ContextVar("polserve_request_id", default=None)
"""The id that calls are given here and now; None for none."""


def with_request_id(metadata: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Return the metadata of a call that is made now."""
    text = given_id.get()
    return metadata if text is None else (*metadata, (REQUEST_ID, text))


def told_id(error: BaseException | None) -> str | None:
    """Return the id that the service told with a `grpc.RpcError`; None where it told none."""
    trailing: Any = getattr(error, "trailing_metadata", tuple)() or ()
    return dict(trailing).get(REQUEST_ID)
