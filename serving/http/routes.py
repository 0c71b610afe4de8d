"""The table of routes: what answers which method on which path.

A package that has pages of its own makes `Route`s of them and hands them to the `HttpServer` with those of the others.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeAlias
from urllib.parse import unquote

from polserve.protos.shared.calls import REQUEST_ID, RETRY_HINT
from polserve.serving.access.callers import Caller, Role
from polserve.serving.access.guard import Guard
from polserve.serving.access.keys import KeysAwaited
from polserve.serving.http.bodies import BodyReader, Room
from polserve.serving.http.messages import TEXT, Answer, ClientGone, Headers, HttpError, Receive, Scope, Send
from polserve.serving.http.requests import Request
from polserve.serving.http.schemas import Operation
from polserve.serving.request_ids import RequestId, id_fields, read_request_id
from polserve.serving.statuses import Code, status_of

Endpoint: TypeAlias = Callable[[Request], Awaitable[Answer]]

Count: TypeAlias = Callable[[str, int], None]
"""Counts a request by the path of its route and the status of its answer."""

OTHER = "other"
"""What stands for the path of a request that no route is for."""
API_PREFIXES = (b"/v1", b"/v2")
"""Beginnings of the paths whose callers are programs: they are told in JSON that there is no such page."""
COMMON_HEADERS: Headers = ((b"x-content-type-options", b"nosniff"),)
NO_SCRIPTS: Headers = ((b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'"),)
"""Headers of a page that loads nothing and runs nothing."""
LINGER_S = 2.0
"""Time for which a body that was refused is read and thrown away, so that its client gets to read why."""

STATUSES: Mapping[Code, HTTPStatus] = {
    Code.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    Code.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    Code.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    Code.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Code.ABORTED: HTTPStatus.CONFLICT,
    Code.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    Code.FAILED_PRECONDITION: HTTPStatus.CONFLICT,
    Code.OUT_OF_RANGE: HTTPStatus.BAD_REQUEST,
    Code.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    Code.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    Code.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
}
"""The status of HTTP for each code of gRPC; any other code is an internal error."""


@dataclass(frozen=True, slots=True)
class Route:
    """One method on one path, and what answers it."""

    method: str
    path: str
    """The path; a part of it in braces, such as {name}, stands for any text without a slash or a colon."""
    endpoint: Endpoint
    summary: str = ""
    """What it is for, in a few words."""
    needs: Role = Role.OBSERVE
    """Role that a caller must have; the calls that answer a request may need more."""
    operation: Operation | None = None
    """What it takes and answers; None where /openapi.json is to leave it out."""


class RouteTable:
    """The application behind the HTTP port."""

    def __init__(self, routes: Iterable[Route], guard: Guard, count: Count) -> None:
        """Make the table; of two routes for the same, the first one counts.

        Args:
            routes: what is answered.
            guard: says who may ask.
            count: called for each request that was answered.
        """
        self._guard = guard
        self._count = count
        self._room = Room()
        self._by_path: dict[bytes, dict[str, Route]] = {}
        self._by_pattern: dict[str, tuple[re.Pattern[str], dict[str, Route]]] = {}
        for route in routes:
            if "{" in route.path:
                _, methods = self._by_pattern.setdefault(route.path, (_pattern(route.path), {}))
            else:
                methods = self._by_path.setdefault(route.path.encode(), {})
            methods.setdefault(route.method, route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        reader = BodyReader(receive, self._room)
        request_id = read_request_id(id_fields(scope["headers"]))
        path = OTHER
        try:
            route, parameters = self._find(scope)
            path = route.path
            request = Request(scope, reader, parameters, request_id)
            request.caller = await self._admit(route, request)
            answer = await route.endpoint(request)
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001 - every error must become a status
            answer = refusal(error, request_id)
        finally:
            self._room.give_back(reader.taken)
        self._count(path, int(answer.status))
        await _send(answer, request_id, receive, send)

    async def _admit(self, route: Route, request: Request) -> Caller:
        """Return who asks; raises what refuses them."""
        # The metrics of a service whose callers call too often are read all the same.
        is_call = route.path.encode().startswith(API_PREFIXES)
        try:
            return self._guard.admit(route.needs, request.shown, is_paced=is_call)
        except KeysAwaited as awaited:
            await asyncio.wrap_future(awaited.fetched)
            return self._guard.admit(route.needs, request.shown, is_paced=is_call)

    def _find(self, scope: Scope) -> tuple[Route, Mapping[str, str]]:
        """Return the route of a request, and the parts of the path that it names; raises HttpError."""
        path: bytes = scope["raw_path"]
        methods = self._by_path.get(path)
        parameters: Mapping[str, str] = {}
        if methods is None:
            methods, parameters = self._match(path)
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        route = methods.get(method)
        if route is None:
            allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])
            message = f"method: expected {allowed}, got {method}"
            headers = ((b"allow", allowed.encode()),)
            raise HttpError(HTTPStatus.METHOD_NOT_ALLOWED, Code.UNIMPLEMENTED, message, headers)
        return route, parameters

    def _match(self, path: bytes) -> tuple[dict[str, Route], Mapping[str, str]]:
        text = path.decode("ascii", "replace")
        for pattern, methods in self._by_pattern.values():
            if (match := pattern.fullmatch(text)) is not None:
                return methods, {name: unquote(value) for name, value in match.groupdict().items()}
        if path.startswith(API_PREFIXES):
            message = f"path: expected one that /openapi.json lists, got {unquote(text)}"
            raise HttpError(HTTPStatus.NOT_FOUND, Code.NOT_FOUND, message)
        known = ", ".join(path for path in self._paths() if not path.encode().startswith(API_PREFIXES))
        raise _NoPage(f"no page {text}; there are {known}\n")

    def _paths(self) -> list[str]:
        return [*map(bytes.decode, self._by_path), *self._by_pattern]


class _NoPage(Exception):
    """There is no such page; the text is for whoever reads pages."""


def refusal(error: Exception, request_id: RequestId) -> Answer:
    """Return the answer that tells a client of an error; what is nobody's fault but ours is logged, by `request_id`."""
    if isinstance(error, _NoPage):
        return Answer(str(error).encode(), TEXT, HTTPStatus.NOT_FOUND)
    if isinstance(error, HttpError):
        return Answer(
            _as_json(error.code, str(error)), status=error.status, headers=error.headers, is_last=error.is_last
        )
    status = status_of(error, request_id)
    http_status = STATUSES.get(status.code, HTTPStatus.INTERNAL_SERVER_ERROR)
    hints = [value for name, value in status.trailing_metadata if name == RETRY_HINT]
    headers = [(b"retry-after", b"%d" % max(1, -(-int(hint) // 1000))) for hint in hints]
    if status.code is Code.UNAUTHENTICATED:
        headers.append((b"www-authenticate", b"Bearer"))
    return Answer(_as_json(status.code, status.details), status=http_status, headers=tuple(headers))


def _as_json(code: Code, message: str) -> bytes:
    return json.dumps({"error": message, "code": code.name}).encode() + b"\n"


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", path)
    names = [f"(?P<{part}>[^/:]+)" if i % 2 else re.escape(part) for i, part in enumerate(parts)]
    return re.compile("".join(names))


async def _send(answer: Answer, request_id: RequestId, receive: Receive, send: Send) -> None:
    headers = [
        (b"content-type", answer.content_type),
        (b"content-length", b"%d" % len(answer.body)),
        (REQUEST_ID.encode(), str(request_id).encode()),
        *COMMON_HEADERS,
        *answer.headers,
    ]
    if answer.is_last:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": int(answer.status), "headers": headers})
    if not answer.is_last:
        await send({"type": "http.response.body", "body": answer.body})
        return
    # NOTE: a connection that is closed with unread bytes is reset, and its client may lose the answer.
    await send({"type": "http.response.body", "body": answer.body, "more_body": True})
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            while (message := await receive())["type"] == "http.request" and message.get("more_body", False):
                pass
    await send({"type": "http.response.body", "body": b""})
