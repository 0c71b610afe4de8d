"""Where a service is: how a person writes it, and how gRPC does."""

import ipaddress
import os
import re
from dataclasses import dataclass

from polserve.protos.shared.calls import DEFAULT_PORT, DEFAULT_TARGET
from polserve.serving.client.errors import InvalidArgument, described

MOST_PORT = 65_535
UNIX = "unix:"
SCHEMES = ("dns:", "ipv4:", "ipv6:")
"""What may precede a host in gRPC's way of writing."""

_VERSIONS = {"ipv4:": 4, "ipv6:": 6}
"""Version of IP of what follows a scheme that is for addresses alone."""
_HOST = re.compile(r"[^\s/,:@\[\]]+|\[[0-9a-fA-F:.]+(%[^\s\]]+)?\]")
_EXPECTED = f"host or host:port such as {DEFAULT_TARGET!r}"


@dataclass(frozen=True, slots=True)
class Place:
    """What a socket connects to: a path, or a host and a port."""

    path: str = ""
    host: str = ""
    """Host without brackets."""
    port: int = 0


def full_target(target: str) -> str:
    """Return the target with its port, 50051 where none is written, in a form that gRPC takes.

    It may be written as gRPC does: dns:///HOST:PORT, ipv4:ADDRESS:PORT, ipv6:[ADDRESS]:PORT, unix:PATH.

    Raises:
        InvalidArgument: it has another scheme, no host, a port that is none, or an address of IPv6 without brackets.
    """
    if not isinstance(target, str):
        raise InvalidArgument("target", _EXPECTED, f"{described(target)}; {_hint_for_type(target)}")
    text = str(target)
    if text.startswith(UNIX):
        if not _path_of(text) or "\0" in text:
            raise InvalidArgument("target", _EXPECTED, f"{described(target)}; a path follows unix:")
        return f"{UNIX}{_path_of(text)}"
    scheme = next((scheme for scheme in SCHEMES if text.startswith(scheme)), "")
    address = text.removeprefix(scheme)
    if scheme == "dns:":
        scheme, address = "dns:///", address.removeprefix("///")
    elif scheme:
        address = address.replace("%5B", "[").replace("%5D", "]")
    if _is_host(address, scheme):
        return f"{scheme}{address}:{DEFAULT_PORT}"
    host, _, port = address.rpartition(":")
    is_port = port.isascii() and port.isdecimal() and 1 <= int(port) <= MOST_PORT
    if is_port and _is_host(host, scheme):
        return f"{scheme}{address}"
    raise InvalidArgument("target", _EXPECTED, f"{described(target)}; {_hint(text, host)}")


def place_of(target: str) -> Place:
    """Return what to connect to for a full target."""
    if target.startswith(UNIX):
        return Place(path=target.removeprefix(UNIX))
    host, _, port = _address_of(target).rpartition(":")
    return Place(host=host.strip("[]"), port=int(port))


def host_of(target: str) -> str:
    """Return the host of a full target, without brackets; localhost for a UNIX socket."""
    return "localhost" if target.startswith(UNIX) else _address_of(target).rpartition(":")[0].strip("[]")


def _address_of(target: str) -> str:
    """Return host:port of a full target that is no UNIX socket."""
    scheme = next((scheme for scheme in ("dns:///", *SCHEMES) if target.startswith(scheme)), "")
    return target.removeprefix(scheme)


def _is_host(text: str, scheme: str) -> bool:
    """Whether a text is a host as the scheme has it: an address of its kind, or with no such scheme a name, too."""
    if not _HOST.fullmatch(text):
        return False
    version = _VERSIONS.get(scheme)
    if version is None:
        return True
    try:
        return ipaddress.ip_address(text.strip("[]")).version == version
    except ValueError:
        return False


def _path_of(target: str) -> str:
    """Return the path of unix:PATH or unix:///PATH."""
    path = target.removeprefix(UNIX)
    return path.removeprefix("//") if path.startswith("///") else path


def _hint(text: str, host: str) -> str:  # noqa: PLR0911 - one for each mistake
    """Return what to do about a text that is no target."""
    if not text.strip():
        return f"leave it out for {DEFAULT_TARGET}"
    if "://" in text and not text.startswith(SCHEMES):
        return "leave out the scheme and whatever follows the port"
    if text != text.strip():
        return "leave out the white space around it"
    if (version := _VERSIONS.get(text[:5])) is not None:
        return f"an address of IPv{version} follows {text[:5]}, and then a port from 1 to {MOST_PORT}"
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
