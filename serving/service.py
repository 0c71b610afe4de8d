"""The whole service: a source, the rollout of what it desires, and the two edges."""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import structlog

from serving.answering import Responder
from serving.catalog import Catalog
from serving.grpc.server import GrpcServer
from serving.grpc.services import PolicyService
from serving.http.server import HttpServer
from serving.metrics import Metrics
from serving.rollout import Rollout
from serving.settings import BUNDLED_POLICIES, Settings
from serving.sources.folder import FolderSource
from serving.sources.mlflow import FollowerConfig, MlflowSource
from serving.sources.source import Source

GRACE_S = 7.0
"""Seconds that calls in flight have to finish after SIGTERM; containers are usually killed after 10."""

RETRY_DELAY_S = 1.0
"""Before following begins again after an unexpected error."""

log = structlog.get_logger()


def make_source(settings: Settings) -> Source:
    """The registry when a tracking URI is set, else a folder.

    Raises:
        ConfigurationError: neither can be used.
    """
    if settings.mlflow_tracking_uri:
        return MlflowSource(
            FollowerConfig(
                tracking_uri=settings.mlflow_tracking_uri,
                policies=settings.policy,
                aliases=settings.aliases,
                poll_interval_s=settings.poll_interval,
                cache_dir=str(settings.registry_cache),
                service=settings.service,
            )
        )
    return FolderSource(settings.policies or BUNDLED_POLICIES, settings.policy, settings.poll_interval)


class Service:
    """Follows its source and answers calls, from `start` to `stop`."""

    def __init__(self, settings: Settings) -> None:
        """Bind both ports.

        Raises:
            ConfigurationError: a port cannot be bound, or the source cannot be used.
        """
        self._required = settings.policy
        self._source = make_source(settings)
        self._catalog = Catalog(settings.aliases)
        self._metrics = Metrics()
        self._rollout = Rollout(self._catalog, is_list_fixed=bool(settings.policy))
        self._is_draining = False
        responder = Responder(self._catalog, self._metrics, np.random.default_rng())
        service = PolicyService(self._catalog, responder)
        self._grpc = GrpcServer(service, self._metrics, settings.host, settings.grpc_port)
        self._http = HttpServer(settings.host, settings.http_port, self._exposition, self.readiness)
        self.grpc_port, self.http_port = self._grpc.port, self._http.port
        self._follower = threading.Thread(target=self._follow, name="rollout", daemon=True)

    def start(self) -> None:
        """Answer calls, and follow the source."""
        self._http.start()
        self._grpc.start()
        self._follower.start()

    def stop(self) -> None:
        """Not ready, accept no more, finish what is in flight, close."""
        self._is_draining = True
        self._grpc.drain(GRACE_S)
        self._source.close()
        self._http.stop()

    def readiness(self) -> dict[str, Any]:
        """Whether every required policy can answer, and why not."""
        live = self._catalog.live()
        missing = sorted(set(self._required) - live.keys())
        if self._is_draining:
            reason = "draining"
        elif missing:
            reason = f"no version is live of {', '.join(missing)}"
        else:
            reason = "" if live else "no policy is live"
        state: dict[str, Any] = {
            "ready": not reason,
            "reason": reason,
            "policies": {name: dict(policy.aliases) for name, policy in sorted(live.items())},
        }
        if status := self._source.registry():
            state["registry"] = {
                "up": status.is_up,
                "last_success_timestamp_seconds": status.last_success,
                "error": status.error,
            }
        return state

    def _follow(self) -> None:
        """Follow the source until the end; what goes wrong is logged, and following begins again."""
        while not self._is_draining:
            try:
                self._apply_all()
            except Exception:
                log.exception("follow_failed")
                time.sleep(RETRY_DELAY_S)

    def _apply_all(self) -> None:
        for desired in self._source.follow():
            verdicts = self._rollout.apply(desired)
            self._catalog.settle()
            live = self._catalog.live()
            self._metrics.observe_rollouts(verdicts, live)
            readiness = self.readiness()
            self._grpc.set_health(live, is_ready=readiness["ready"])
            self._source.tell(verdicts, {name: policy.aliases for name, policy in live.items()})
            if not readiness["ready"]:
                log.warning("not_ready", reason=readiness["reason"])

    def _exposition(self) -> bytes:
        return self._metrics.exposition(self._source.registry())


def run(settings: Settings, announce: Callable[[Service], None]) -> None:
    """Serve until SIGTERM or SIGINT, then drain; `announce` is called once both ports answer.

    Raises:
        ConfigurationError: the service cannot start as it was told to.
    """
    service = Service(settings)
    ended = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    service.start()
    announce(service)
    ended.wait()
    log.info("draining", grace_s=GRACE_S)
    service.stop()
    log.info("stopped")
