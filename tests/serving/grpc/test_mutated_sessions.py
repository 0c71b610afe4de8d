"""Bytes of real clients' sessions, changed at random: the service says what is wrong, if anything, and goes on.

A run takes a few hundred sessions; `make hostile SESSIONS=1000000` takes as many as you like.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from polserve.serving.client import PolicyClient
from polserve.serving.client.transport import TransportName
from tests.support.faults import faults
from tests.support.mutation import Thrower, mutate, recording
from tests.support.running import Running, service, wait_until

OBSERVATION = np.zeros(4, np.float32)
FRAME = np.zeros((6, 8), np.uint8)
N_SESSIONS = int(os.environ.get("HOSTILE_SESSIONS", "600"))
SEED = int(os.environ.get("HOSTILE_SEED", "0"))
IN_A_ROW = 2_000
"""Sessions between two looks at the service."""
KEPT_MIB = 64
"""Memory that may stay, whatever was sent."""


@pytest.fixture(scope="module")
def running(policies: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("mutated")
    with service("--policies", str(policies), "--front", "nghttp2", folder=folder) as running:
        wait_until(running.is_up, running.log)
        yield running


def play(target: str, transport: TransportName) -> None:
    """Make calls of every kind, over connections of its own."""
    options = {"grpc.use_local_subchannel_pool": 1} if transport == "grpcio" else {}
    with PolicyClient(target, transport=transport, options=options) as client:
        client.act("cartpole", OBSERVATION, with_values=True)
        client.act_batch("cartpole", np.zeros((20, 4), np.float32))
        client.policies()
        with client.episode("cartpole") as episode:
            for step in range(3):
                episode.act(OBSERVATION, 1.0 if step else None)
            episode.end(1.0)
        with client.episodes("cartpole", 3) as episodes:
            for _ in range(3):
                episodes.act(np.zeros((3, 4), np.float32))


@pytest.fixture(scope="module")
def sessions(running: Running) -> list[bytes]:
    """What the clients of both transports and a health checker have sent."""
    with recording(running.target) as (relay, recorded):
        play(relay, "grpcio")
        play(relay, "nghttp2")
        with grpc.insecure_channel(relay, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="cartpole"), timeout=10)
    assert len(recorded) >= 3
    return [bytes(session) for session in recorded if session]


def resident_mib(running: Running) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{running.process.pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def assert_is_sound(running: Running, n_read: int, when: str) -> int:
    """See that an honest call is answered, and the log tells of no fault after `n_read` bytes; return its length."""
    with PolicyClient(running.target, timeout_s=60) as client:
        assert client.act("cartpole", OBSERVATION).version == "1"
    with running.log.open("rb") as log:
        log.seek(n_read)
        assert faults(log.read().decode(errors="replace")) == [], when
        return log.tell()


@pytest.mark.timeout(0 if N_SESSIONS > IN_A_ROW else 400)
def test_sessions_with_changed_bytes_end_in_no_fault_and_leave_nothing(running: Running, sessions: list[bytes]) -> None:
    thrower = Thrower(running.target)
    thrower.throw(sessions)  # unchanged: what they cost once
    before = resident_mib(running)
    rng, n_read = np.random.default_rng(SEED), 0
    for done in range(0, N_SESSIONS, IN_A_ROW):
        n = min(IN_A_ROW, N_SESSIONS - done)
        thrower.throw(mutate(sessions[rng.integers(len(sessions))], rng) for _ in range(n))
        n_read = assert_is_sound(running, n_read, f"after {done + n} sessions of HOSTILE_SEED={SEED}")
    assert resident_mib(running) < before + KEPT_MIB
