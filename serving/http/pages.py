"""The pages for operators: the home page at /, /metrics, /livez and /readyz."""

import asyncio
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, TypeAlias

from prometheus_client import CONTENT_TYPE_LATEST

from polserve.serving.access.callers import Caller, Role
from polserve.serving.errors import PermissionDenied
from polserve.serving.http import home
from polserve.serving.http.messages import HTML, TEXT, Answer
from polserve.serving.http.requests import Request
from polserve.serving.http.routes import NO_SCRIPTS, Endpoint, Route
from polserve.serving.http.schemas import Operation

Readiness: TypeAlias = Mapping[str, Any]
"""JSON with the key "ready" and the reasons."""

OPERATIONS = {
    "/readyz": Operation({"type": "object"}, others=(503,)),
    "/livez": Operation({}, others=(503,)),
    "/metrics": Operation({}),
}
"""What the pages answer; empty for text."""


def page_routes(
    metrics: Callable[[], bytes],
    readiness: Callable[[], Readiness],
    metrics_need: Role = Role.NONE,
    is_stuck: Callable[[], bool] = lambda: False,
) -> list[Route]:
    """Make the routes of the pages.

    Args:
        metrics: writes the page that Prometheus scrapes, in a thread of its own.
        readiness: says whether the service is ready, at once.
        metrics_need: role that a caller must have for the metrics.
        is_stuck: says whether only a restart helps.
    """
    shared = MetricsPage(metrics)
    pages: dict[str, Endpoint] = {"/readyz": _readyz(readiness), "/livez": _livez(is_stuck), "/metrics": shared}
    if metrics_need > Role.NONE:
        pages["/metrics"] = _for_all_policies(shared)
    needs = {"/readyz": Role.NONE, "/livez": Role.NONE, "/metrics": metrics_need}
    return [
        Route("GET", "/", home_page(readiness), "what is live, and how to call it"),
        *(
            Route("GET", path, pages[path], meaning, needs[path], OPERATIONS[path])
            for path, meaning in home.PAGES.items()
        ),
    ]


class MetricsPage:
    """The page /metrics; those who ask while one is being written share the next."""

    def __init__(self, write: Callable[[], bytes]) -> None:
        self._write = write
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="metrics")
        self._present: asyncio.Task[Answer] | None = None
        self._next: asyncio.Task[Answer] | None = None

    async def __call__(self, _request: Request) -> Answer:
        """Answer with the page."""
        if self._next is None:
            self._next = asyncio.create_task(self._write_after(self._present))
        return await asyncio.shield(self._next)

    async def _write_after(self, present: "asyncio.Task[Answer] | None") -> Answer:
        if present is not None:
            await asyncio.wait({present})
        self._present, self._next = self._next, None
        page = await asyncio.get_running_loop().run_in_executor(self._thread, self._write)
        return Answer(page, CONTENT_TYPE_LATEST.encode(), headers=NO_SCRIPTS)


def _for_all_policies(page: Endpoint) -> Endpoint:
    """Return the page for those who see all policies: it has the names of all."""

    async def answer(request: Request) -> Answer:
        if request.caller.policies is not None:
            raise PermissionDenied("observe every policy", f"{request.caller.role.name.lower()} for some")
        return await page(request)

    return answer


def as_seen(state: Readiness, caller: Caller) -> Readiness:
    """Return as much of the service's state as a caller may see: whether it is ready, everybody."""
    if caller.policies is None:
        return state
    policies = {name: aliases for name, aliases in state["policies"].items() if caller.policies.sees(name)}
    return {
        "ready": state["ready"],
        "reason": "" if state["ready"] else "the service is not ready; a caller who may observe every policy sees why",
        "policies": policies,
        "grpc_port": state["grpc_port"],
        "tls": state.get("tls", False),
    }


def _livez(is_stuck: Callable[[], bool]) -> Endpoint:
    async def answer(_request: Request) -> Answer:
        if is_stuck():
            text = b"no call is answered any more: restart the service\n"
            return Answer(text, TEXT, status=HTTPStatus.SERVICE_UNAVAILABLE, headers=NO_SCRIPTS)
        return Answer(b"ok\n", TEXT, headers=NO_SCRIPTS)

    return answer


def _readyz(readiness: Callable[[], Readiness]) -> Endpoint:
    async def answer(request: Request) -> Answer:
        state = as_seen(readiness(), request.caller)
        status = HTTPStatus.OK if state["ready"] else HTTPStatus.SERVICE_UNAVAILABLE
        return Answer(json.dumps(state, indent=2).encode() + b"\n", status=status, headers=NO_SCRIPTS)

    return answer


def home_page(readiness: Callable[[], Readiness]) -> Endpoint:
    """Make the page at /: what is live and how to call it, as HTML or as text."""

    async def answer(request: Request) -> Answer:
        """Answer with HTML for a browser, else with plain text."""
        state = as_seen(readiness(), request.caller)
        address = (request.header(b"host") or b"").decode("latin-1") or "localhost"
        if b"text/html" in (request.header(b"accept") or b""):
            return Answer(home.as_html(state, address).encode(), HTML, headers=NO_SCRIPTS)
        return Answer(home.as_text(state, address).encode(), TEXT, headers=NO_SCRIPTS)

    return answer
