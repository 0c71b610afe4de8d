"""Where a service is: how a person writes it."""

import os
import re

from polserve.protos.shared.calls import DEFAULT_PORT, DEFAULT_TARGET
from polserve.serving.client.errors import InvalidArgument, described

MOST_PORT = 65_535

_HOST = re.compile(r"[^\s/,:@\[\]]+|\[[0-9a-fA-F:.]+(%[^\s\]]+)?\]")
_EXPECTED = f"host or host:port such as {DEFAULT_TARGET!r}"


def full_target(target: str) -> str:
    """Return the target with its port: 50051 where none is written.

    Raises:
        InvalidArgument: it has a scheme, no host, a port that is none, or an address of IPv6 without its brackets.
    """
    if not isinstance(target, str):
        raise InvalidArgument("target", _EXPECTED, f"{described(target)}; {_hint_for_type(target)}")
    text = str(target)
    if _HOST.fullmatch(text):
        return f"{text}:{DEFAULT_PORT}"
    host, _, port = text.rpartition(":")
    is_port = port.isascii() and port.isdecimal() and 1 <= int(port) <= MOST_PORT
    if is_port and _HOST.fullmatch(host):
        return text
    raise InvalidArgument("target", _EXPECTED, f"{described(target)}; {_hint(text, host)}")


def host_of(target: str) -> str:
    """Return the host of a full target, without brackets."""
    return target.rpartition(":")[0].strip("[]")


def _hint(text: str, host: str) -> str:
    """Return what to do about a text that is no target."""
    if not text.strip():
        return f"leave it out for {DEFAULT_TARGET}"
    if "://" in text:
        return "leave out the scheme and whatever follows the port"
    if text != text.strip():
        return "leave out the white space around it"
    if text.count(":") > 1 and "[" not in text:
        return "an address of IPv6 stands in brackets, as in [::1]:50051"
    if _HOST.fullmatch(host):
        return f"the port is from 1 to {MOST_PORT}"
    return "the host is a name or an address"


def _hint_for_type(target: object) -> str:
    if target is None:
        return f"leave it out for {DEFAULT_TARGET}"
    if isinstance(target, os.PathLike):
        return "a file is no address; polserve.load reads a version from a folder"
    return "write it as text"
