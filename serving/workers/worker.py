"""What answers calls in one process: the live versions, the model's queue, the episodes, the gRPC server."""

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
from polserve.serving.loader import Shelf
from polserve.serving.metrics.answers import AnsweringMetrics
from polserve.serving.settings import Settings


@dataclass(frozen=True, slots=True)
class Share:
    """Which of how many workers this is."""

    index: int = 0
    n: int = 1

    def of(self, total: int) -> int:
        """This worker's part of something that all have together; the first ones take what does not divide."""
        return total // self.n + (self.index < total % self.n)


class Worker:
    """Answers calls from `start` to `drain`."""

    def __init__(self, settings: Settings, registry: CollectorRegistry, epoch: Epoch, share: Share) -> None:
        """Nothing is live yet, and no port is bound."""
        metrics = AnsweringMetrics(registry)
        self._catalog = Catalog(settings.aliases, epoch)
        self.shelf = Shelf(self._catalog, settings.batching)
        self._queue = InferenceQueue(metrics, max_waiting=settings.max_waiting, max_batch=settings.max_batch)
        rng = np.random.default_rng(None if settings.seed is None else [settings.seed, share.index])
        responder = Responder(self._catalog, metrics, self._queue, rng)
        limits = Limits(share.of(settings.max_episodes), settings.episode_idle, settings.retire_after)
        streams = OpenStreams(metrics.episodes_active, limits, self._catalog.is_live)
        service = PolicyService(self._catalog, ActHandler(responder), EpisodeHandler(responder, streams, metrics))
        self._grpc = GrpcServer(Services(service, BudgetService(responder)), streams, metrics, settings)

    def bind(self, host: str, port: int) -> int:
        """The gRPC port that is bound; raises PortInUse."""
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
