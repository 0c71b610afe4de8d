"""How a person writes where a service is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polserve.serving.client import AsyncPolicyClient, InvalidArgument, PolicyClient
from polserve.serving.client.target import full_target


@pytest.mark.parametrize(
    ("target", "full"),
    [
        ("127.0.0.1", "127.0.0.1:50051"),
        ("localhost", "localhost:50051"),
        ("polserve.example", "polserve.example:50051"),
        ("[::1]", "[::1]:50051"),
        ("[fe80::1%eth0]:1", "[fe80::1%eth0]:1"),
        ("localhost:8080", "localhost:8080"),
        ("dns:///polserve.example:1", "dns:///polserve.example:1"),
        ("dns:polserve.example", "dns:///polserve.example:50051"),
        ("ipv4:127.0.0.1", "ipv4:127.0.0.1:50051"),
        ("ipv6:[::1]:1", "ipv6:[::1]:1"),
        ("ipv6:%5B::1%5D:1", "ipv6:[::1]:1"),
        ("unix:/run/polserve.sock", "unix:/run/polserve.sock"),
        ("unix:///run/polserve.sock", "unix:/run/polserve.sock"),
        ("unix:here.sock", "unix:here.sock"),
    ],
)
def test_a_target_without_a_port_gets_the_default_one(target: str, full: str) -> None:
    assert full_target(target) == full


@pytest.mark.parametrize("kind", [PolicyClient, AsyncPolicyClient])
@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("http://localhost:50051", "leave out the scheme"),
        ("ipv4:localhost", "an address of IPv4 follows ipv4:"),
        ("ipv6:[127.0.0.1]:1", "an address of IPv6 follows ipv6:"),
        ("unix:", "a path follows unix:"),
        ("dns:///", "the host is a name or an address"),
        ("localhost:grpc", "the port is from 1 to 65535"),
        ("localhost:70000", "the port is from 1 to 65535"),
        ("localhost:\uff15", "the port is from 1 to 65535"),
        ("localhost:", "the port is from 1 to 65535"),
        (":50051", "the host is a name or an address"),
        ("a,b:1", "the host is a name or an address"),
        ("::1:50051", "an address of IPv6 stands in brackets"),
        ("::1", "an address of IPv6 stands in brackets"),
        (" localhost:50051\n", "leave out the white space around it"),
        ("", "leave it out for localhost:50051"),
        (None, "leave it out for localhost:50051"),
        (Path("policies"), "a file is no address; polserve.load reads a version from a folder"),
        (50051, "write it as text"),
        (b"localhost", "write it as text"),
    ],
)
def test_what_is_no_target_is_refused_with_what_to_do(kind: Callable[..., Any], target: Any, hint: str) -> None:
    with pytest.raises(InvalidArgument, match="target: expected host or host:port such as 'localhost:50051', got") as e:
        kind(target)
    assert hint in str(e.value)
