"""Requests of every size and kind, one sequence of them, after which the service is to keep little memory."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from polserve.serving.client import ClientError, PolicyClient

LIMIT_MIB = 64
"""Largest message of a service with its defaults."""
ALLOWED_MIB = 64 + 2 * LIMIT_MIB
"""What may be kept after any sequence of requests that the limits admit."""
LARGEST = (LIMIT_MIB * 2**20 - 200) // 16
"""Observations of CartPole in a message of the largest size, about."""
TIMEOUT_S = 120.0


def ask_first(target: str) -> None:
    """Ask both policies for the first time, which loads what loads late."""
    with PolicyClient(target, timeout_s=TIMEOUT_S) as client:
        client.act("cartpole", _rows(1)[0])
        client.act("mspacman", _frames(1)[0])


def ask_mixed(target: str) -> None:
    """Ask for batches of every size up to the largest, also at once and refused, and play episodes of both kinds."""
    with PolicyClient(target, timeout_s=TIMEOUT_S) as client:
        for n, times in ((1024, 200), (100_000, 4), (LARGEST, 2)):
            for _ in range(times):
                client.act("cartpole", _rows(n))
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: client.act("cartpole", _rows(LARGEST)), range(4)))
        for refused in (_rows(LARGEST + 100), np.full((LARGEST, 4), np.nan, np.float32)):
            with contextlib.suppress(ClientError):
                client.act("cartpole", refused)
        client.act("mspacman", _frames(150))
        with client.episodes("cartpole", 4096) as episodes:
            for _ in range(20):
                episodes.act(_rows(4096))
        streams = [client.episode("mspacman") for _ in range(90)]
        for stream in streams:
            stream.act(_frames(1)[0, 0])
        for stream in streams:
            stream.close()


def _rows(n: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, (n, 4)).astype(np.float32)


def _frames(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 4, 210, 160, 3), np.uint8)
