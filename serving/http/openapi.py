"""The page /openapi.json: what the routes take and answer, made from the table of routes."""

import re
from collections.abc import Iterable
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from polserve.serving.access.callers import Role
from polserve.serving.http.messages import JSON, Answer
from polserve.serving.http.requests import Request
from polserve.serving.http.routes import STATUSES, Route
from polserve.serving.http.schemas import ERROR, Operation
from polserve.serving.http.strict_json import dump

PATH = "/openapi.json"
EXAMPLES = {"name": "cartpole", "version": "1"}
"""What parts of a path may be, such as in an example."""
REFUSALS = sorted(
    {
        *STATUSES.values(),
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.METHOD_NOT_ALLOWED,
        HTTPStatus.INTERNAL_SERVER_ERROR,
    }
)
"""Statuses of errors."""


def openapi_route(routes: Iterable[Route]) -> Route:
    """Make the route of the document that describes the other routes."""
    page = Answer(dump(document(routes)))

    async def answer(_request: Request) -> Answer:
        return page

    return Route("GET", PATH, answer, "this document", Role.NONE)


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the document of OpenAPI 3.1; routes that say nothing of what they answer are left out."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if route.operation is not None:
            paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, route.operation)
    refused = {"description": "refused, with the reason", "content": {JSON.decode(): {"schema": ERROR}}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "polserve",
            "version": version("polserve"),
            "description": "Actions of trained policies, over HTTP.",
        },
        "paths": paths,
        "components": {"responses": {"Refused": refused}},
    }


def _operation(route: Route, operation: Operation) -> dict[str, Any]:
    said: dict[str, Any] = {
        "operationId": operation.name or _name(route),
        "summary": route.summary,
        "responses": {str(int(status)): {"$ref": "#/components/responses/Refused"} for status in REFUSALS},
    }
    kind = JSON.decode() if operation.answer else "text/plain"
    schema = operation.answer or {"type": "string"}
    for status in (200, *operation.others):
        said["responses"][str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {kind: {"schema": schema}},
        }
    names = re.findall(r"\{(\w+)\}", route.path)
    if names:
        said["parameters"] = [
            {
                "name": name,
                "in": "path",
                "required": True,
                "schema": {"type": "string", "minLength": 1, "pattern": "^[^/:]+$"},
                "example": EXAMPLES[name],
            }
            for name in names
        ]
    if operation.body is not None:
        body: dict[str, Any] = {"schema": operation.body}
        if operation.example is not None:
            body["example"] = operation.example
        said["requestBody"] = {"required": True, "content": {JSON.decode(): body}}
    return said


def _name(route: Route) -> str:
    words = re.findall(r"\w+", route.path.replace("{", "of ").replace("}", ""))
    return "_".join([route.method.lower(), *words])
