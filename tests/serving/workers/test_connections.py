"""Connections are spread evenly over the workers, however few they are."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from polserve.serving.grpc.listener import Listener, SharedPort, Taking, Turns
from polserve.serving.workers.connections import ConnectionCounts
from tests.support.http2 import ACT, RawClient, framed
from tests.support.running import Running, service, wait_until


@pytest.fixture(scope="module")
def running(policies: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("connections")
    # On a busy machine a worker that a test has stopped is silent for long, and is not to be replaced.
    options = ("--policies", str(policies), "--front", "nghttp2", "--workers", "2", "--max-silence", "300")
    with service(*options, folder=folder) as running:
        wait_until(running.is_up, running.log)
        yield running


def worker_pids(running: Running) -> list[int]:
    children = psutil.Process(running.process.pid).children()
    return [child.pid for child in children if any("worker_process" in word for word in child.cmdline())]


def spread(running: Running) -> list[int]:
    """How many connections each worker has."""
    port = int(running.target.rsplit(":", 1)[1])
    open_by_pid = [psutil.Process(pid).net_connections(kind="tcp") for pid in worker_pids(running)]
    return sorted(sum(one.status == "ESTABLISHED" and one.laddr.port == port for one in found) for found in open_by_pid)


def connect(running: Running, n: int, stack: contextlib.ExitStack) -> list[RawClient]:
    """Make connections that are all in hand, since each has been answered."""
    clients = [stack.enter_context(RawClient(running.target)) for _ in range(n)]
    for client in clients:
        assert client.call(ACT, [framed(b"")]).status == 5
    return clients


def spread_of_eight(running: Running) -> tuple[list[int], list[int]]:
    """How eight connections are spread, and eight again after five of them have ended."""
    with contextlib.ExitStack() as stack:
        clients = connect(running, 8, stack)
        before = spread(running)
        for client in clients[:5]:
            client.socket.close()
        wait_until(lambda: sum(spread(running)) == 3, running.log)
        connect(running, 5, stack)
        after = spread(running)
    wait_until(lambda: sum(spread(running)) == 0, running.log)
    return before, after


def test_eight_connections_are_four_for_each_of_two_workers_also_after_some_have_ended(running: Running) -> None:
    # A worker that a busy machine stops for a tenth of a second leaves its turn to the other one.
    assert any(spread_of_eight(running) == ([4, 4], [4, 4]) for _ in range(5))


def test_a_worker_that_takes_the_place_of_another_gets_the_next_connections(running: Running) -> None:
    with contextlib.ExitStack() as stack:
        connect(running, 6, stack)
        lost, n_up = worker_pids(running)[0], running.log.read_text().count("event=worker_up")
        os.kill(lost, signal.SIGKILL)
        wait_until(lambda: running.log.read_text().count("event=worker_up") > n_up, running.log)
        new, other = spread(running)
        assert new == 0
        for _ in range(12):  # a worker that a busy machine stops for a moment leaves its turn
            connect(running, 1, stack)
            if spread(running) == [other, other]:
                break
        fewest, most = spread(running)
        assert fewest >= other
        assert most - fewest <= 1


def test_connections_go_to_the_other_worker_while_one_does_not_answer(running: Running) -> None:
    stopped = worker_pids(running)[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        with contextlib.ExitStack() as stack:
            connect(running, 4, stack)
    finally:
        os.kill(stopped, signal.SIGCONT)


def test_a_service_that_ends_takes_no_more_connections(running: Running) -> None:
    host, port = running.target.rsplit(":", 1)
    running.process.terminate()
    assert running.process.wait(60) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)
    assert "accept_failed" not in running.log.read_text()


class Recorded:
    """Turns that are always ours; keeps the counts that it was told."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def is_ours(self, n_connections: int) -> bool:
        self.counts.append(n_connections)
        return True

    def leave(self) -> None:
        pass


class NeverOurs:
    """Turns of a process beside one that has fewer connections, and takes none."""

    def is_ours(self, n_connections: int) -> bool:
        del n_connections
        return False

    def leave(self) -> None:
        pass


class Speaker(asyncio.Protocol):
    """A connection that is among `made` once it is made, and notes the counts then."""

    def __init__(self, made: "list[Speaker]", listeners: list[Listener], has_begun: Callable[[], object]) -> None:
        self.made, self.listeners, self.has_begun = made, listeners, has_begun

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made.append(self)
        self.has_begun()
        self.listeners[0].note()
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(b"!")


async def take(n: int, turns: Turns) -> None:
    """Have a listener take n connections, one after the other."""
    made, listeners = list[Speaker](), list[Listener]()
    with socket.create_server(("127.0.0.1", 0)) as listening, contextlib.ExitStack() as stack:
        port = SharedPort(listening, turns)
        taking = Taking(lambda begun: Speaker(made, listeners, begun), made.__len__, 100, lambda: None)
        listeners.append(Listener(port, asyncio.get_running_loop(), taking))
        for _ in range(n):
            client = stack.enter_context(contextlib.closing(socket.socket()))
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, listening.getsockname())
            assert await asyncio.get_running_loop().sock_recv(client, 1) == b"!"
        listeners[0].close()


def test_a_connection_is_counted_once_while_it_begins() -> None:
    turns = Recorded()
    asyncio.run(asyncio.wait_for(take(5, turns), 20))
    assert turns.counts == [i + once for i in range(5) for once in (0, 1, 1)], "before, at, and after it is taken"


def test_connections_that_the_other_worker_leaves_are_taken_together_however_busy_this_one_is() -> None:
    """Ten that wait are left for a tenth of a second once, and not each of them anew."""

    async def take_while_busy() -> int:
        loop = asyncio.get_running_loop()
        n_turns, made, are_made = 0, list[Speaker](), asyncio.Event()

        def work() -> None:
            nonlocal n_turns
            n_turns += 1
            time.sleep(0.03)
            loop.call_soon(work)

        def make(has_begun: Callable[[], object]) -> Speaker:
            if len(made) == 9:
                are_made.set()
            return Speaker(made, listeners, has_begun)

        listeners = list[Listener]()
        with socket.create_server(("127.0.0.1", 0)) as listening, contextlib.ExitStack() as stack:
            taking = Taking(make, made.__len__, 100, lambda: None)
            listeners.append(Listener(SharedPort(listening, NeverOurs()), loop, taking))
            for _ in range(10):
                client = stack.enter_context(contextlib.closing(socket.socket()))
                client.connect(listening.getsockname())
            loop.call_soon(work)
            await are_made.wait()
            listeners[0].close()
        return n_turns

    n_turns = asyncio.run(asyncio.wait_for(take_while_busy(), 20))
    assert n_turns < 30, "each by itself would take some five turns of the loop"


def test_it_is_the_turn_of_whoever_has_the_fewest() -> None:
    counts = ConnectionCounts(3)
    assert counts.is_turn_of(0, 5), "the others do not listen yet"
    shared = ConnectionCounts(3, os.dup(counts.fd))
    assert shared.is_turn_of(1, 4)
    assert not counts.is_turn_of(0, 5)
    shared.leave(1)
    assert counts.is_turn_of(0, 5)


def test_among_many_connections_a_few_more_do_not_matter() -> None:
    counts = ConnectionCounts(2)
    counts.is_turn_of(0, 1_000)
    assert counts.is_turn_of(1, 1_062)
    assert not counts.is_turn_of(1, 1_063)
