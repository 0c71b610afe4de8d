"""Requests to the HTTP port of a service, and what they are answered."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from tests.support.running import Running


@dataclass(frozen=True)
class Answered:
    """What came back."""

    status: int
    headers: dict[str, str]
    """Headers by name in lower case."""
    body: bytes

    @property
    def said(self) -> Any:
        """What its JSON says."""
        return json.loads(self.body)


def ask(running: Running, path: str, body: bytes | None = None, **headers: str) -> Answered:
    """Get a path, or post a body to it; an underscore in a header's name stands for a hyphen."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"{running.http_url}{path}", body, named)  # noqa: S310 - our own http:// address
    try:
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
            status, found, content = response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        status, found, content = error.code, error.headers, error.read()
    return Answered(status, {name.lower(): value for name, value in found.items()}, content)


def post(running: Running, path: str, **said: Any) -> Answered:
    """Post a JSON object."""
    return ask(running, path, json.dumps(said).encode())
