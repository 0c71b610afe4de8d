"""A load on a service: many calls at once, and how long each took from the moment that it was due."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import grpc
import grpc.aio
import numpy as np
from numpy.typing import NDArray

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.layout import Layout
from polserve.protos.tensors import DTYPES
from polserve.serving.client.channel import ChannelOptions, open_async_channel
from polserve.serving.client.credentials import Bearer, Credentials

METHOD = f"/{pb.DESCRIPTOR.services_by_name['PolicyService'].full_name}/Act"
QUANTILES = (0.5, 0.9, 0.99, 0.999, 1.0)


@dataclass(frozen=True, slots=True)
class LoadSchedule:
    """What a load asks of a service, and how often."""

    target: str
    request: pb.ActRequest
    duration_s: float
    concurrency: int
    """Calls in flight; with a rate, the most that there may be."""
    rate: float | None = None
    """Calls that become due each second, whether or not those before are answered; None: each follows another."""
    warm_up_s: float = 1.0
    """Seconds at the start that are not counted."""
    connections: int = 8
    timeout_s: float = 10.0


@dataclass(slots=True)
class LoadResult:
    """What became of the calls of a load."""

    latencies_s: list[float] = field(default_factory=list)
    """Seconds that each answered call took, from when it was due."""
    codes: Counter[str] = field(default_factory=Counter)
    """Number of calls by the name of their status."""
    seconds: float = 0.0
    """Seconds from the first call that counts to the last answer."""

    def quantiles(self) -> dict[float, float]:
        """Compute latencies in seconds, by the share of calls that took at most so long; empty without an answer."""
        if not self.latencies_s:
            return {}
        return dict(zip(QUANTILES, np.quantile(self.latencies_s, QUANTILES).tolist(), strict=True))


def run_load(
    schedule: LoadSchedule, on_progress: Callable[[float, int], None] = lambda _elapsed, _calls: None
) -> LoadResult:
    """Make the calls of a schedule; return what became of them.

    Args:
        schedule: the calls to make.
        on_progress: called now and then with the seconds that have passed and the calls made so far.
    """
    return asyncio.run(_Generator(schedule, on_progress).run())


def sample_observation(spec: pb.ObservationSpec, n: int, rng: np.random.Generator) -> NDArray[np.generic]:
    """Draw observations that the policy takes: (n, *shape) for n above 1, else (*shape).

    Numbers lie within finite bounds, and categories are among their values.
    """
    dtype = DTYPES[spec.dtype]
    shape = (*((n,) if n > 1 else ()), *spec.shape)
    if dtype.kind == "f":
        drawn = np.clip(rng.normal(0, 0.1, shape), *_bounds(spec)).astype(dtype)
    else:
        drawn = np.asarray(rng.integers(0, 2 if dtype.kind == "b" else 100, shape), dtype)
    layout = Layout.of(spec)
    if layout is not None:
        values, start = layout.categories
        columns = np.flatnonzero(values)
        rows = drawn.reshape(-1, len(values))  # a frame each, where there is a stack of them
        rows[:, columns] = rng.integers(start[columns], (start + values)[columns], (len(rows), len(columns)))
    return drawn


def _bounds(spec: pb.ObservationSpec) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low, high = (np.array(bound or [edge]) for bound, edge in ((spec.low, -np.inf), (spec.high, np.inf)))
    return tuple(bound.reshape(spec.shape) if bound.size > 1 else bound for bound in (low, high))  # type: ignore[return-value]


class _Generator:
    """Makes the calls, in one event loop."""

    def __init__(self, schedule: LoadSchedule, on_progress: Callable[[float, int], None]) -> None:
        self._schedule = schedule
        self._on_progress = on_progress
        self._message = schedule.request.SerializeToString()
        self._result = LoadResult()
        self._started = 0.0
        self._n_calls = 0
        self._credentials = Credentials.from_environment()
        self._bearer = Bearer(self._credentials)

    async def run(self) -> LoadResult:
        """Make the calls, and wait for the last answer."""
        schedule = self._schedule
        options: ChannelOptions = {"grpc.enable_retries": 0}  # every failure is counted
        channels = [
            open_async_channel(schedule.target, self._credentials, options) for _ in range(schedule.connections)
        ]
        calls: list[grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = [
            channel.unary_unary(METHOD) for channel in channels
        ]
        self._started = time.perf_counter() + schedule.warm_up_s
        watcher = asyncio.create_task(self._watch())
        try:
            if schedule.rate is None:
                await asyncio.gather(*(self._repeat(calls[i % len(calls)]) for i in range(schedule.concurrency)))
            else:
                await self._arrive(calls, schedule.rate)
        finally:
            watcher.cancel()
            await asyncio.gather(*(channel.close() for channel in channels))
        self._result.seconds = time.perf_counter() - self._started
        return self._result

    async def _repeat(self, call: "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]") -> None:
        until = self._started + self._schedule.duration_s
        while (now := time.perf_counter()) < until:
            await self._call(call, now)

    async def _arrive(self, calls: "list[grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]]", rate: float) -> None:
        begin = time.perf_counter()
        running: set[asyncio.Task[None]] = set()
        for i in range(round(rate * (self._schedule.warm_up_s + self._schedule.duration_s))):
            due = begin + i / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            while len(running) >= self._schedule.concurrency:
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            # Counted from when it was due: a call that had to wait here waited for the service.
            task = asyncio.create_task(self._call(calls[i % len(calls)], due))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)

    async def _call(self, call: "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]", due: float) -> None:
        code = grpc.StatusCode.OK
        try:
            await call(self._message, timeout=self._schedule.timeout_s, metadata=self._bearer.metadata())
        except grpc.aio.AioRpcError as error:
            code = error.code()
        self._n_calls += 1
        if due < self._started:
            return
        self._result.codes[code.name] += 1
        if code is grpc.StatusCode.OK:
            self._result.latencies_s.append(time.perf_counter() - due)

    async def _watch(self) -> None:
        begin = time.perf_counter()
        while True:
            await asyncio.sleep(0.2)
            self._on_progress(time.perf_counter() - begin, self._n_calls)
