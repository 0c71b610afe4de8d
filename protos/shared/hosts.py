"""Hosts and addresses as both sides read them: which are this very machine, and what of them may be shown."""

import ipaddress
import re


def is_loopback(host: str) -> bool:
    """Whether a host, by its name or address, is this very machine, before which no proxy stands."""
    host = host.strip("[]").lower()
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def without_passwords(text: str) -> str:
    """The text, without what stands before the host in an address."""
    return re.sub(r"//[^/\s]*@", "//", text)
