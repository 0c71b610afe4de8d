"""Whatever was asked, the service keeps little of it afterwards."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from polserve.serving.client import ClientError, PolicyClient
from polserve.serving.settings.settings import BUNDLED_POLICIES
from tests.serving.grpc.test_parts import resident_mib
from tests.support.running import service, wait_until

LIMIT_MIB = 8
KEPT_MIB = 64 + 2 * LIMIT_MIB
"""What may be kept after any sequence of requests that the limits admit."""
ROWS = (LIMIT_MIB * 2**20 - 100) // 16
"""Observations of CartPole in the largest message that is admitted, about."""
FRAMES = np.random.default_rng(0).integers(0, 256, (19, 4, 210, 160, 3), np.uint8)  # 7.3 MiB


def batch(n: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, (n, 4)).astype(np.float32)


def ask_for_everything(client: PolicyClient) -> None:
    """Ask for large and small batches, also at once and refused, and play episodes of numbers and of frames."""
    largest = batch(ROWS)
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: client.act("cartpole", largest).action.shape, range(4)))
    assert answers == [(ROWS,)] * 4
    with pytest.raises(ClientError, match="above the limit"):
        client.act("cartpole", batch(ROWS + 100))
    for n in (1, 64, 1024, 100_000):
        client.act("cartpole", batch(n), with_values=True)
    with pytest.raises(ClientError, match="finite numbers"):
        client.act("cartpole", np.full((ROWS, 4), np.nan, np.float32))
    client.act("mspacman", FRAMES)
    with client.episodes("cartpole", 4096) as episodes:
        for _ in range(5):
            episodes.act(batch(4096))
    streams = [client.episode("mspacman") for _ in range(20)]
    for episode in streams:
        episode.act(FRAMES[0, 0])
    for episode in streams:
        episode.close()


def test_little_memory_is_kept_after_any_sequence_of_requests(tmp_path: Path) -> None:
    options = ("--policies", str(BUNDLED_POLICIES), "--policy", "cartpole,mspacman")
    with (
        service(*options, "--max-message-mib", str(LIMIT_MIB), folder=tmp_path) as running,
        PolicyClient(running.target, timeout_s=60) as client,
    ):
        wait_until(running.is_up, running.log)
        client.act("cartpole", batch(1)[0])
        client.act("mspacman", FRAMES[0])
        before = resident_mib(running.process.pid, "VmRSS")
        ask_for_everything(client)
        ask_for_everything(client)
        deadline = time.monotonic() + 60
        while (kept := resident_mib(running.process.pid, "VmRSS") - before) > KEPT_MIB and time.monotonic() < deadline:
            time.sleep(0.1)
    assert kept <= KEPT_MIB
