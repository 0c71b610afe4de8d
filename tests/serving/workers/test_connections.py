"""Connections are spread evenly over the workers, however few they are."""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

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
        lost = worker_pids(running)[0]
        os.kill(lost, signal.SIGKILL)
        wait_until(lambda: running.log.read_text().count("event=worker_up") == 3, running.log)
        assert spread(running) == [0, 3]
        connect(running, 3, stack)
        assert spread(running) == [3, 3]


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
    assert running.process.wait(15) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)
    assert "accept_failed" not in running.log.read_text()


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
