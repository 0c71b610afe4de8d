"""A UNIX socket lets in whom its file lets in, and no stale one is in the way."""

import asyncio
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from polserve.serving import addresses
from polserve.serving.addresses import bind_file
from polserve.serving.client import AsyncPolicyClient, PolicyClient
from polserve.serving.client.transport import TransportName
from polserve.serving.errors import PortInUse
from tests.support.commands import polserve_here
from tests.support.running import Running, polserve, service, wait_until

TRANSPORTS: tuple[TransportName, ...] = ("grpcio", "nghttp2")
OBSERVATION = [0.0, 0.0, 0.1, 0.5]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("socket") / "polserve.sock"


@pytest.fixture(scope="module")
def local(options: tuple[str, ...], policies: Path, place: Path) -> Iterator[Running]:
    """A service of each kind that takes over a socket which a killed one left."""
    bind_file(place).close()
    assert place.is_socket()
    socket_option = ("--grpc-socket", str(place))
    with service("--policies", str(policies), *options, *socket_option, folder=place.parent) as running:
        wait_until(running.is_up, running.log)
        yield running
    assert not place.exists(), "a service that ends removes its socket"


def test_each_client_is_answered_over_it(local: Running, place: Path) -> None:
    for target in (f"unix:{place}", f"unix://{place}"):
        for transport in TRANSPORTS:
            with PolicyClient(target, transport=transport) as client:
                assert client.act("cartpole", OBSERVATION).version == "1"

    async def ask() -> str:
        async with AsyncPolicyClient(f"unix:{place}") as client:
            return (await client.act("cartpole", OBSERVATION)).version

    assert asyncio.run(ask()) == "1"
    assert polserve_here("policies", "--target", f"unix:{place}").stdout.count("cartpole/1") == 1
    with PolicyClient(local.target) as client:
        assert client.act("cartpole", OBSERVATION).version == "1", "the port answers as before"


def test_only_owner_and_group_may_connect(local: Running, place: Path) -> None:
    assert local.is_up()
    assert stat.S_IMODE(place.stat().st_mode) == 0o660


def test_a_socket_that_is_in_use_and_a_file_that_is_none_are_left_alone(
    local: Running, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "PATIENCE_S", 0.0)
    assert local.is_up()
    with pytest.raises(PortInUse, match=r"grpc-socket: expected a path where .*another program listens there"):
        bind_file(place)
    file = place.with_name("file")
    file.touch()
    with pytest.raises(PortInUse, match="something else is there"):
        bind_file(file)
    with pytest.raises(PortInUse, match=r"\(AF_UNIX path too long\)"):
        bind_file(place.with_name("x" * 200))


def test_processes_that_cannot_share_a_socket_say_so(policies: Path, tmp_path: Path) -> None:
    options = ("--front", "grpcio", "--workers", "2", "--grpc-socket", str(tmp_path / "s"), "--policies", str(policies))
    refused = polserve("serve", *options)
    assert refused.returncode == 2
    assert "grpc-socket: expected --front nghttp2 with 2 workers, got grpcio" in refused.stderr
