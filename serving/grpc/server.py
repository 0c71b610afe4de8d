"""The gRPC server: one loop in a thread of its own, the methods, and the carrier that brings their calls."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from polserve.serving.calls import LocalCarrier
from polserve.serving.episodes import OpenStreams
from polserve.serving.grpc.carrier import Carrier
from polserve.serving.handlers.health import Health
from polserve.serving.inference.inference import Inference
from polserve.serving.methods import Method
from polserve.serving.rounds import Rounds

LAST_WORD_S = 0.5
"""Part of the grace that is kept for telling open episodes that they end."""
START_S = 30.0
BEAT_S = 0.25
"""Seconds between two signs that the loop goes round."""

FrontName = Literal["nghttp2", "grpcio"]


@dataclass(frozen=True, slots=True)
class Answering:
    """What a process answers with."""

    methods: Sequence[Method]
    inference: Inference
    streams: OpenStreams
    health: Health
    local: LocalCarrier
    """What brings the calls that no gRPC client makes."""


class GrpcServer:
    """Answers calls on one port."""

    def __init__(self, loop: asyncio.AbstractEventLoop, carrier: Carrier, answering: Answering, rounds: Rounds) -> None:
        """Nothing is bound yet; `loop` runs from `start` to `drain`."""
        self._loop = loop
        self._carrier = carrier
        self._answering = answering
        self._rounds = rounds
        self._thread = threading.Thread(target=self._run, name="front", daemon=True)
        self.n_beats = 0
        """Signs that the loop has given, which rise while it goes round."""
        self._beat_at = 0.0

    def bind(self, host: str, port: int) -> int:
        """Bind the port, any where it is 0, and return it; raises PortInUse."""
        return self._carrier.bind(host, port)

    def start(self) -> None:
        """Answer calls."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(START_S)

    def silent_s(self) -> float:
        """Return the seconds since the loop was last seen to go round; 0 before it starts."""
        return time.monotonic() - self._beat_at if self.n_beats else 0.0

    def set_health(self, policies: AbstractSet[str], *, is_ready: bool) -> None:
        """Tell health checkers and watchers what can be answered: "" for the service, and each policy by name."""
        names = frozenset(policies)
        self._rounds.post(lambda: self._answering.health.set(names, is_ready=is_ready))

    def drain(self, grace_s: float) -> None:
        """Tell health watchers, accept no more calls, and finish those in flight within `grace_s` seconds."""
        if not self._thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(self._drain(grace_s), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(1.0)

    async def _start(self) -> None:
        self._answering.streams.watch(self._loop)
        self._beat()
        await self._carrier.start()

    def _beat(self) -> None:
        self.n_beats += 1
        self._beat_at = time.monotonic()
        self._loop.call_later(BEAT_S, self._beat)

    async def _drain(self, grace_s: float) -> None:
        self._answering.health.drain()
        self._answering.streams.drain()
        drained = asyncio.gather(self._carrier.drain(), self._answering.local.drain())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(drained), max(0.0, grace_s - LAST_WORD_S))
        self._answering.streams.end_all()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(drained, LAST_WORD_S)
        await self._carrier.close()
        self._answering.local.close()
        self._answering.inference.close()
        self._rounds.publish()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
