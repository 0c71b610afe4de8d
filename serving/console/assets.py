"""The files of the console, as a browser gets them: compressed, and sent again only when they have changed."""

import functools
import gzip
import hashlib
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from polserve.serving.http.messages import HTML, Answer, Headers, HttpError
from polserve.serving.http.requests import Request
from polserve.serving.statuses import Code

STATIC = Path(__file__).resolve().parent / "static"
INDEX = "index.html"

CONTENT_TYPES = {
    ".css": b"text/css; charset=utf-8",
    ".html": HTML,
    ".js": b"text/javascript; charset=utf-8",
    ".rec": b"application/octet-stream",
    ".svg": b"image/svg+xml",
}
COMPRESSED = ".rec"
"""Suffix of files that are compressed already."""

POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy: nothing inline, nothing from other hosts."""

HEADERS: Headers = (
    (b"content-security-policy", POLICY),
    (b"cache-control", b"no-cache"),  # the browser asks each time whether its copy is still the present one
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"vary", b"accept, accept-encoding"),
)


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the page."""

    content_type: bytes
    plain: bytes
    gzipped: bytes | None
    """The same, compressed; None where that would save nothing."""
    tag: bytes
    """Entity tag, which changes with the file."""


@functools.cache
def read_asset(name: str) -> Asset:
    """Read a file of the console by its name.

    Raises:
        KeyError: there is none of that name.
    """
    if name not in asset_names():
        raise KeyError(name)
    path = STATIC / name
    plain = path.read_bytes()
    gzipped = None if path.suffix == COMPRESSED else gzip.compress(plain, mtime=0)
    tag = b'"%s"' % hashlib.sha256(plain).hexdigest()[:16].encode()
    return Asset(CONTENT_TYPES[path.suffix], plain, gzipped, tag)


@functools.cache
def asset_names() -> frozenset[str]:
    """Names of the files that a browser may ask for."""
    return frozenset(path.name for path in STATIC.iterdir() if path.suffix in CONTENT_TYPES)


def answer_asset(request: Request, name: str) -> Answer:
    """Answer with a file, or with word that the copy that the browser has is the present one.

    Raises:
        HttpError: there is no such file.
    """
    try:
        asset = read_asset(name)
    except KeyError:
        message = f"console: expected a file of the page, got {name!r}; open / in a browser"
        raise HttpError(HTTPStatus.NOT_FOUND, Code.NOT_FOUND, message) from None
    headers = (*HEADERS, (b"etag", asset.tag))
    if request.header(b"if-none-match") == asset.tag:
        return Answer(b"", asset.content_type, HTTPStatus.NOT_MODIFIED, headers)
    if asset.gzipped is not None and b"gzip" in (request.header(b"accept-encoding") or b""):
        return Answer(asset.gzipped, asset.content_type, headers=(*headers, (b"content-encoding", b"gzip")))
    return Answer(asset.plain, asset.content_type, headers=headers)
