"""HTTP as endpoints see it: a request, whose body is read when it is asked for, and an answer."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeAlias

from polserve.serving.access.callers import STRANGER
from polserve.serving.access.guard import Shown
from polserve.serving.calls import Asker
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


class Request:
    """A request, as far as it has come: the body is only read by `body`."""

    __slots__ = ("_receive", "caller", "parameters", "scope")

    def __init__(self, scope: Scope, receive: Receive, parameters: Mapping[str, str]) -> None:
        self.scope = scope
        self._receive = receive
        self.parameters = parameters
        """Parts of the path that the route names."""
        self.caller = STRANGER
        """Who asks, once that is known."""

    def header(self, name: bytes) -> bytes | None:
        """Return the value of a header, the first of several, by its name in lower case; None without one."""
        for key, value in self.scope["headers"]:
            if key == name:
                return bytes(value)
        return None

    @property
    def asker(self) -> Asker:
        """Who makes the calls that answer this request."""
        return Asker(self.is_gone, self.shown)

    @property
    def shown(self) -> Shown:
        """What the client shows of who they are."""
        client = self.scope.get("client")
        certificate: tuple[str, ...] = self.scope["state"].get("certificate", ())
        address = "" if client is None else str(client[0])
        return Shown(self.header(b"authorization") or b"", certificate, address, self.scope["path"])

    @property
    def is_gone(self) -> Callable[[], bool]:
        """What says whether the client has gone; may be asked by any thread."""
        found: Callable[[], bool] = self.scope["state"]["is_gone"]
        return found

    async def body(self, most: int) -> bytes:
        """Read the body, of at most so many bytes; a longer one is refused by its length, before it is read.

        Raises:
            HttpError: it is longer.
            ClientGone: its end never came.
        """
        if (length := self.header(b"content-length")) is not None and int(length) > most:
            raise too_large(most, f"{int(length)} bytes")
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):  # in one piece, as most are
            body: bytes = message["body"]
            if len(body) > most:
                raise too_large(most, "more")
            return body
        pieces, n = [], 0
        while True:
            if message["type"] != "http.request":
                raise ClientGone
            piece = message.get("body", b"")
            pieces.append(piece)
            n += len(piece)
            if n > most:
                raise too_large(most, "more")
            if not message.get("more_body", False):
                return b"".join(pieces)
            message = await self._receive()


def too_large(most: int, got: str) -> HttpError:
    """Return the error that refuses a body of more than `most` bytes."""
    message = f"body: expected at most {most} bytes, got {got}; send fewer observations at once"
    return HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, Code.RESOURCE_EXHAUSTED, message)
