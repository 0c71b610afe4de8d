"""Open episodes cost their state and nothing else: no thread, and little memory."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.tensors import to_tensor
from polserve.serving.client import PolicyClient
from tests.support.http2 import EPISODE, RawClient, framed
from tests.support.running import Running, service, wait_until

OBSERVATION = np.zeros(4, np.float32)
START = framed(
    pb.EpisodeRequest(start=pb.EpisodeStart(policy="cartpole", observation=to_tensor(OBSERVATION))).SerializeToString()
)
N = 10_000


@pytest.fixture
def running(policies: Path, tmp_path: Path) -> Iterator[Running]:
    options = ("--policies", str(policies), "--front", "nghttp2", "--max-streams", str(2 * N))
    with service(*options, folder=tmp_path) as running:
        wait_until(running.is_up, running.log)
        yield running


def status_of(running: Running, field: str) -> int:
    """A number of the service's /proc/PID/status."""
    found = re.search(rf"^{field}:\s+(\d+)", Path(f"/proc/{running.process.pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def n_active(running: Running) -> int:
    return int(float(next(re.finditer(r"^polserve_episodes_active (\S+)", running.metrics(), re.MULTILINE))[1]))


def test_ten_thousand_open_episodes_take_no_thread_and_little_memory_and_leave_nothing(running: Running) -> None:
    with RawClient(running.target) as client, PolicyClient(running.target, timeout_s=30) as other:
        other.act("cartpole", OBSERVATION)
        client.call(EPISODE, [START])
        threads, kib = status_of(running, "Threads"), status_of(running, "VmRSS")
        for _ in range(N):
            client.send(client.begin(EPISODE), START)
            client.pump(0)
        while n_active(running) < N:
            client.pump(0.1)
        assert status_of(running, "Threads") <= threads + 2, "which answer the page of metrics"
        assert (status_of(running, "VmRSS") - kib) / N < 6, "KiB for each, its HTTP/2 stream included"
        assert other.act("cartpole", OBSERVATION).version == "1"
        extra = client.begin(EPISODE)
        client.send(extra, START)
        refused = client.wait(extra)
        assert (refused.status, refused.details) == (
            8,
            f"{N} episodes are open, which is the limit; try again in 1 s",
        )
    wait_until(lambda: n_active(running) == 0, running.log)
