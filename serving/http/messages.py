"""HTTP as endpoints see it: what they answer with, and what can be wrong with a request."""

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeAlias

from polserve.serving.errors import PolserveError
from polserve.serving.statuses import Code

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

TEXT = b"text/plain; charset=utf-8"
HTML = b"text/html; charset=utf-8"
JSON = b"application/json"
BINARY = b"application/octet-stream"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered with."""

    body: bytes
    content_type: bytes = JSON
    status: int = HTTPStatus.OK
    headers: Headers = ()
    """Headers beside the type, the length and those that every answer has."""
    is_last: bool = False
    """Whether the connection ends with it, since the rest of the request's body is not wanted."""


class HttpError(PolserveError):
    """A request is refused with a status of HTTP."""

    def __init__(self, status: HTTPStatus, code: Code, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers
        self.is_last = status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        """Whether the connection ends with the answer, since the rest of the body is not wanted."""


class ClientGone(PolserveError):
    """The client has closed the connection before it sent the whole request."""
