"""The other side of a connection: its address, and the names in the certificate that it has shown."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

NAMES = ("URI", "DNS", "email")
"""Kinds of names of a certificate by which callers may be known, beside the common name."""

UNNAMED = "(unnamed)"
"""Stands for the name of a certificate that has none."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The other side of a connection."""

    address: str
    """Address without the port; "unix" where it came over a UNIX socket."""
    port: int = 0
    certificate: tuple[str, ...] = ()
    is_local: bool = False
    """Whether it came over a UNIX socket."""

    def __str__(self) -> str:
        """Address and port, for the log."""
        return "unix" if self.is_local else f"{self.address} {self.port}"


def peer_of(transport: asyncio.BaseTransport) -> Peer:
    """Return the other side of a connection of asyncio."""
    name = transport.get_extra_info("peername")
    shown = transport.get_extra_info("peercert")
    certificate = tuple(_names(shown)) or (UNNAMED,) if shown else ()
    if not isinstance(name, tuple):
        return Peer("unix", certificate=certificate, is_local=True)
    return Peer(str(name[0]), int(name[1]), certificate)


def _names(certificate: Mapping[str, Any]) -> Iterator[str]:
    """Return the names in a certificate as `ssl` tells them, the alternative ones first."""
    for kind, name in certificate.get("subjectAltName", ()):
        if kind in NAMES:
            yield name
    for part in certificate.get("subject", ()):
        for key, value in part:
            if key == "commonName":
                yield value
