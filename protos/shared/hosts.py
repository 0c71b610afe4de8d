"""Hosts and addresses as both sides read them: which are this very machine, and what of them may be shown."""

import ipaddress
import re
from collections.abc import Mapping

LOOPBACK = ("localhost", "127.0.0.0/8", "::1")
"""This very machine, as the variable no_proxy writes it."""


def is_loopback(host: str) -> bool:
    """Return whether a host, by its name or address, is this very machine."""
    host = host.strip("[]").lower()
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def no_proxy(environment: Mapping[str, str], host: str = "") -> str:
    """Return the value of the variable no_proxy with this very machine added: no proxy could find what listens here.

    Args:
        environment: the variables as they are.
        host: another name of this machine to be added; ignored where it is no name of this machine.
    """
    told = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    parts = [part.strip() for part in told.split(",") if part.strip()]
    return ",".join(dict.fromkeys([*parts, *LOOPBACK, *([host] if is_loopback(host) else [])]))


def without_passwords(text: str) -> str:
    """Return the text with the user names and passwords taken out of its addresses."""
    return re.sub(r"//[^/\s]*@", "//", text)
