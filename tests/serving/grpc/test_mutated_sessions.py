"""Bytes of real clients' sessions, changed at random: the service says what is wrong, if anything, and goes on.

A run takes a few hundred sessions; `make hostile SESSIONS=1000000` takes as many as you like.
"""

import json
import os
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from polserve.serving.access.access_file import add_token
from polserve.serving.client import Credentials, PolicyClient
from polserve.serving.client.transport import TransportName
from tests.fuzz.calls import ACT, spoken
from tests.support.certificates import Authority
from tests.support.faults import faults
from tests.support.http1 import post
from tests.support.mutation import Thrower, changed, mutate, recording
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


@dataclass(frozen=True)
class Guarded:
    """A service that speaks TLS and wants tokens, and what its callers know."""

    running: Running
    authority: Path
    token: str

    @property
    def http_target(self) -> str:
        """Address of HTTP."""
        return self.running.http_url.removeprefix("https://")

    def credentials(self) -> Credentials:
        """What an honest caller shows."""
        return Credentials(ca=self.authority, token=self.token)

    def context(self, *protocols: str) -> ssl.SSLContext:
        """TLS of a client that speaks one of these protocols."""
        context = ssl.create_default_context(cafile=str(self.authority))
        context.set_alpn_protocols(list(protocols))
        return context


@pytest.fixture(scope="module")
def guarded(policies: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    authority = Authority(folder)
    pair = authority.sign("service")
    token = add_token(folder / "access.toml", "robot", "act", [], None)
    files = ("--tls-cert", pair.certificate, "--tls-key", pair.key, "--access", folder / "access.toml")
    with service("--policies", str(policies), *map(str, files), folder=folder) as running:
        wait_until(lambda: "event=aliases_switched" in running.log.read_text(), running.log)
        yield Guarded(running, Path(authority.certificate), token)


def over_http(token: str) -> list[bytes]:
    """What clients of HTTP say."""
    shown = (f"Authorization: Bearer {token}", "X-Request-Id: order-4711")
    body = json.dumps({"observation": [0.0, 0.0, 0.1, 0.5], "with_values": True}).encode()
    tensor = {"name": "observation", "datatype": "FP32", "shape": [1, 4], "data": [0.0, 0.0, 0.1, 0.5]}
    infer = json.dumps({"id": "a", "inputs": [tensor]}).encode()
    pages = b"".join(b"GET %s HTTP/1.1\r\nHost: test\r\n\r\n" % path for path in (b"/readyz", b"/metrics", b"/"))
    return [
        post("/v1/policies/cartpole:act", body, *shown),
        post("/v2/models/cartpole/infer", infer, *shown),
        pages + post("/v1/policies/cartpole:act", body, *shown),
    ]


@pytest.mark.timeout(0 if N_SESSIONS > IN_A_ROW else 400)
@pytest.mark.parametrize("way", ["http", "handshakes", "grpc-inside-tls", "http-inside-tls"])
def test_changed_bytes_over_http_and_tls_end_in_no_fault(guarded: Guarded, running: Running, way: str) -> None:
    told = guarded.running
    act = ("/polserve.v1.PolicyService/Act", ACT)
    match way:
        case "http":
            told = running
            sessions, thrower = over_http(""), Thrower(running.http_url.removeprefix("http://"), patience_s=0.5)
        case "handshakes":
            with recording(told.target) as (relay, recorded):
                port = relay.rpartition(":")[2]
                with PolicyClient(
                    f"127.0.0.1:{port}", transport="nghttp2", credentials=guarded.credentials()
                ) as client:
                    client.act("cartpole", OBSERVATION)
            sessions, thrower = [bytes(one) for one in recorded if one], Thrower(told.target, patience_s=0.5)
        case "grpc-inside-tls":
            sessions = [spoken(act, token=guarded.token), spoken(act, act)]
            thrower = Thrower(told.target, patience_s=0.2, tls=guarded.context("h2"))
        case _:
            sessions = over_http(guarded.token)
            thrower = Thrower(guarded.http_target, patience_s=0.2, tls=guarded.context("http/1.1"))
    rng = np.random.default_rng(SEED)
    n = max(20, N_SESSIONS // 10)
    thrower.throw(changed(sessions[int(rng.integers(len(sessions)))], rng) for _ in range(n))
    with PolicyClient(
        told.target, timeout_s=60, credentials=None if way == "http" else guarded.credentials()
    ) as client:
        assert client.act("cartpole", OBSERVATION).version == "1"
    assert faults(told.log.read_text()) == [], f"after {n} sessions of HOSTILE_SEED={SEED}"
    assert guarded.token not in told.log.read_text()
