"""Request ids: what a call is called in logs, errors and traces, by whoever made it or by the service."""

import os
import re
from collections.abc import Iterable, Mapping

from polserve.protos.shared.calls import REQUEST_ID, REQUEST_ID_FORM

TRACE_HEADER = "traceparent"
"""Header of W3C Trace Context."""

_HEADER, _TRACE_HEADER = REQUEST_ID.encode(), TRACE_HEADER.encode()
_TRACE = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_TRACE, _NO_PARENT = b"0" * 32, b"0" * 16


class RequestId:
    """The id of one request: the given one, else one that is made when it is first asked for."""

    __slots__ = ("_text", "parent")

    def __init__(self, given: str | None = None, parent: str | None = None) -> None:
        self._text = given
        self.parent = parent
        """The `traceparent` that came with the request, where that is one."""

    @property
    def is_known(self) -> bool:
        """Whether it was given, or somebody has asked for it: only then it leads anywhere."""
        return self._text is not None

    def __str__(self) -> str:
        if self._text is None:
            self._text = new_id()
        return self._text


def new_id() -> str:
    """Return an id that nothing else has."""
    return os.urandom(8).hex()


def read_request_id(fields: Mapping[bytes, bytes]) -> RequestId:
    """Return the id by which a caller names a request: `x-request-id`, else the trace of `traceparent`.

    An `x-request-id` that is not what it must be is replaced: no call fails for it.

    Args:
        fields: headers by their names in lower case.
    """
    given, parent = fields.get(_HEADER), fields.get(_TRACE_HEADER)
    if given is None and parent is None:
        return RequestId()
    trace = None if parent is None else trace_of(parent)
    parent_text = None if parent is None or trace is None else parent.decode()
    if given is None:
        return RequestId(trace, parent_text)
    return RequestId(given.decode() if REQUEST_ID_FORM.fullmatch(given) else new_id(), parent_text)


def trace_of(parent: bytes) -> str | None:
    """Return the id of the trace that a `traceparent` names; None where it is none."""
    found = _TRACE.fullmatch(parent)
    if found is None:
        return None
    version, trace, span, _, more = found.groups()
    if version == b"ff" or trace == _NO_TRACE or span == _NO_PARENT or (version == b"00" and more):
        return None
    return trace.decode()


_NAMES = {name: key for key in (_HEADER, _TRACE_HEADER) for name in (key, key.decode())}


def id_fields(headers: Iterable[tuple[bytes | str, bytes | str]]) -> dict[bytes, bytes]:
    """Return those headers that may hold a request id, by name; of several alike the first counts."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        key = _NAMES.get(name)
        if key is not None:
            found.setdefault(key, value if isinstance(value, bytes) else value.encode("latin-1", "replace"))
    return found
