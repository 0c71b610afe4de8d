"""A worker: everything in one process that it takes to answer calls."""

from dataclasses import dataclass

import numpy as np
from prometheus_client import CollectorRegistry

from polserve.serving.answering import Responder
from polserve.serving.batching import InferenceQueue
from polserve.serving.catalog import Catalog, Epoch
from polserve.serving.episodes import Limits, OpenStreams
from polserve.serving.grpc.act import ActHandler
from polserve.serving.grpc.budget import BudgetService
from polserve.serving.grpc.episode import EpisodeHandler
from polserve.serving.grpc.server import GrpcServer
from polserve.serving.grpc.services import PolicyService, Services
from polserve.serving.loader import VersionLoader
from polserve.serving.metrics.answers import AnsweringMetrics
from polserve.serving.settings import Settings


@dataclass(frozen=True, slots=True)
class Share:
    """The place of one worker among all of them."""

    index: int = 0
    n: int = 1

    def of(self, total: int) -> int:
        """Return this worker's part of what all share; the first ones take what does not divide."""
        return total // self.n + (self.index < total % self.n)


class Worker:
    """The live versions, the queue for the model, the episodes and the gRPC server of one process."""

    def __init__(self, settings: Settings, registry: CollectorRegistry, epoch: Epoch, share: Share) -> None:
        """Start with nothing live, and no port bound."""
        metrics = AnsweringMetrics(registry)
        self._catalog = Catalog(settings.aliases, epoch)
        self.loader = VersionLoader(self._catalog)
        self._queue = InferenceQueue(metrics, max_waiting=settings.max_waiting, max_batch=settings.max_batch)
        rng = np.random.default_rng(None if settings.seed is None else [settings.seed, share.index])
        responder = Responder(self._catalog, metrics, self._queue, rng)
        limits = Limits(share.of(settings.max_episodes), settings.episode_idle, settings.retire_after)
        streams = OpenStreams(metrics.episodes_active, limits, self._catalog.is_live)
        service = PolicyService(self._catalog, ActHandler(responder), EpisodeHandler(responder, streams, metrics))
        self._grpc = GrpcServer(Services(service, BudgetService(responder)), streams, metrics, settings)

    def bind(self, host: str, port: int) -> int:
        """Bind the gRPC port and return it; raises PortInUse."""
        return self._grpc.bind(host, port)

    def start(self) -> None:
        """Answer calls."""
        self._grpc.start()

    def set_health(self, *, is_ready: bool) -> None:
        """Tell health checkers whether the service is ready, and what is live."""
        self._grpc.set_health(self._catalog.live().keys(), is_ready=is_ready)

    def drain(self, grace_s: float) -> None:
        """Accept no more, finish what is in flight, close."""
        self._grpc.drain(grace_s)
        self._queue.close()
