"""A worker: everything in one process that it takes to answer calls."""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from prometheus_client import CollectorRegistry

from polserve.serving.calls import LocalCarrier, LoopBridge
from polserve.serving.catalog import Catalog, Epoch
from polserve.serving.descriptors import allow_connections
from polserve.serving.entrance import Entrance
from polserve.serving.episodes import EpisodeLimits, OpenStreams
from polserve.serving.grpc.fronts import make_carrier, most_streams
from polserve.serving.grpc.listener import SharedPort, Ways
from polserve.serving.grpc.server import Answering, GrpcServer
from polserve.serving.handlers.health import Health
from polserve.serving.handlers.methods import MethodParts, make_methods
from polserve.serving.handlers.oip.service import ModelLimits
from polserve.serving.handlers.traced import traced
from polserve.serving.inference.admission import WaitLimits
from polserve.serving.inference.inference import Capacity, Inference
from polserve.serving.inference.run_marks import RunMark
from polserve.serving.inference.run_watch import RunLimits, RunWatch
from polserve.serving.loader import VersionLoader
from polserve.serving.loops import make_loop
from polserve.serving.metrics.answers import AnsweringMetrics
from polserve.serving.metrics.tallies import PublishedFirst
from polserve.serving.rounds import Rounds
from polserve.serving.settings.settings import Settings
from polserve.serving.telemetry import open_tracer
from polserve.serving.workers.relay import RelayedCalls


@dataclass(frozen=True, slots=True)
class Share:
    """The place of one worker among all of them."""

    index: int = 0
    n: int = 1
    port: SharedPort | None = None
    """The port that all share; None where there is one worker."""
    socket: SharedPort | None = None
    """Likewise the UNIX socket."""
    marks: Sequence[RunMark] = ()
    """Where its threads note what they run."""

    def of(self, total: int) -> int:
        """Return this worker's part of what all share; the first ones take what does not divide."""
        return total // self.n + (self.index < total % self.n)


class Worker:
    """The live versions, the models, the episodes and the gRPC server of one process."""

    def __init__(self, settings: Settings, registry: CollectorRegistry, epoch: Epoch, share: Share) -> None:
        """Start with nothing live, and no port bound."""
        allow_connections(share.of(settings.max_connections))
        published_first = PublishedFirst()
        registry.register(published_first)
        metrics = AnsweringMetrics(registry)
        self._catalog = Catalog(settings.aliases, epoch)
        self.loader = VersionLoader(self._catalog)
        self._loop = loop = make_loop()
        waits = WaitLimits(settings.max_wait, settings.patience)
        rounds = Rounds(loop, metrics.flush, waits, is_counted_outside=share.n > 1)
        published_first.publish = rounds.publish_soon
        rng = np.random.default_rng(None if settings.seed is None else [settings.seed, share.index])
        self.watch = RunWatch(RunLimits(settings.run_limit, settings.run_memory_mib), share.marks)
        """Ends runs of the models that take too much."""
        capacity = Capacity(settings.max_waiting, settings.max_batch, waits)
        inference = Inference(metrics, rng, capacity, rounds.post, self.watch, rounds.pressure)
        max_open = min(share.of(settings.max_episodes), most_streams(settings.front))
        state_bytes = share.of(settings.max_episode_mib * 2**20)
        limits = EpisodeLimits(max_open, state_bytes, settings.episode_idle, settings.retire_after)
        streams = OpenStreams(limits, self._catalog.is_live, metrics.episodes_active.set)
        health = Health()
        models = ModelLimits(settings.max_batch, settings.episode_idle)
        parts = MethodParts(
            self._catalog,
            inference,
            streams,
            health,
            metrics,
            rounds.post,
            metrics.statistics,
            models,
            settings.reflection_needs,
        )
        self._tracer = open_tracer(settings.tracing, settings.service)
        methods = traced(make_methods(parts, metrics.rpc), self._tracer, inference)
        self.entrance = Entrance(settings, metrics.count_denied)
        certificates, guard = self.entrance.certificates, self.entrance.guard
        socket_path = settings.grpc_socket if share.port is None else None
        connections, arrival = metrics.connections.set, metrics.count_arrival
        ways = Ways(share.port, share.socket, socket_path, certificates, connections, guard, arrival)
        carrier = make_carrier(settings, methods, rounds, loop, ways)
        self._local = LocalCarrier(methods, rounds, guard)
        self.calls = LoopBridge(
            self._local, rounds.post, lambda name, version: self._catalog.resolve(name, version, None)
        )
        """Calls from another loop of this process."""
        self._grpc = GrpcServer(loop, carrier, Answering(methods, inference, streams, health, self._local), rounds)

    def bind(self, host: str, port: int) -> int:
        """Bind the gRPC port and return it; raises PortInUse."""
        return self._grpc.bind(host, port)

    def start(self) -> None:
        """Answer calls."""
        self.watch.start()
        self._grpc.start()

    def take_calls(self, end: socket.socket) -> None:
        """Answer the calls that the supervisor passes on, over this end of a pair of sockets."""
        end.setblocking(False)
        begun = self._loop.create_connection(lambda: RelayedCalls(self._local), sock=end)
        asyncio.run_coroutine_threadsafe(begun, self._loop).result()

    def set_health(self, *, is_ready: bool) -> None:
        """Tell health checkers whether the service is ready, and what is live."""
        self._grpc.set_health(self._catalog.live().keys(), is_ready=is_ready)

    def pulse(self) -> int | None:
        """Return a number that rises as long as the loop that answers calls goes round; None before it starts."""
        return self._grpc.n_beats or None

    def silent_s(self) -> float:
        """Return for how long that loop has not gone round."""
        return self._grpc.silent_s()

    def drain(self, grace_s: float) -> None:
        """Accept no more, finish what is in flight, close."""
        self._grpc.drain(grace_s)
        self.watch.close()
        self.entrance.close()
        if self._tracer is not None:
            self._tracer.close()
