"""The whole service: a source, the rollout of what it desires, the crew that answers, and the pages over HTTP."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import structlog
from prometheus_client import CollectorRegistry

from polserve.serving import rollout
from polserve.serving.http.server import HttpServer
from polserve.serving.metrics.service import ServiceMetrics
from polserve.serving.settings import BUNDLED_POLICIES, Settings
from polserve.serving.signals import EndSignals
from polserve.serving.sources.folder import FolderSource
from polserve.serving.sources.mlflow import FollowerConfig, MlflowSource
from polserve.serving.sources.source import Source
from polserve.serving.validation.validator import Prover

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
                max_artifact_bytes=settings.max_artifact_mib * 2**20,
            )
        )
    return FolderSource(settings.policies or BUNDLED_POLICIES, settings.policy, settings.poll_interval)


class Crew(rollout.Crew, Protocol):
    """Those who answer calls, as the service needs them."""

    grpc_port: int

    def start(self) -> None:
        """Answer calls."""

    def set_health(self, *, is_ready: bool) -> None:
        """Tell health checkers whether the service is ready, and what is live."""

    def state(self) -> Mapping[str, Any]:
        """What /readyz says of the crew."""

    def problem(self) -> str:
        """Why calls cannot be answered; empty if they can."""

    def drain(self, grace_s: float) -> None:
        """Accept no more, finish what is in flight, close."""


def make_crew(settings: Settings, registry: CollectorRegistry) -> Crew:
    """One worker in this process, or several processes.

    Raises:
        PortInUse: the gRPC port cannot be bound.
    """
    if settings.workers == 1:
        from polserve.serving.workers.local import LocalCrew

        return LocalCrew(settings, registry)
    from polserve.serving.workers.supervisor import ProcessCrew  # the supervisor needs neither gRPC nor ONNX Runtime

    return ProcessCrew(settings, registry, GRACE_S)


class Service:
    """Follows its source and answers calls, from `start` to `stop`."""

    def __init__(self, settings: Settings) -> None:
        """Bind both ports.

        Raises:
            ConfigurationError: the source cannot be used.
            PortInUse: a port cannot be bound.
        """
        self._required = settings.policy
        looked_for = " or ".join(f"@{alias}" for alias in settings.aliases)
        self._nowhere = f": the registry was asked for {looked_for}" if settings.mlflow_tracking_uri else ""
        self._source = make_source(settings)
        self._prover = Prover(settings)
        self._prover.warm_up()  # while this process imports what it needs
        registry = CollectorRegistry()
        self._metrics = ServiceMetrics(registry)
        self._http = HttpServer(settings.host, settings.http_port, self._exposition, self.readiness)
        self._crew = make_crew(settings, registry)
        self._rollout = rollout.Rollout(self._prover, self._crew, is_list_fixed=bool(settings.policy))
        self._is_draining = False
        self.grpc_port, self.http_port = self._crew.grpc_port, self._http.port
        self._follower = threading.Thread(target=self._follow, name="rollout", daemon=True)

    def start(self) -> None:
        """Answer calls, and follow the source."""
        self._http.start()
        self._crew.start()
        self._follower.start()

    def stop(self) -> None:
        """Not ready, accept no more, finish what is in flight, close."""
        self._is_draining = True
        self._crew.drain(GRACE_S)
        self._prover.close()
        self._source.close()
        self._http.stop()

    def readiness(self) -> dict[str, Any]:
        """Whether every required policy can answer, and why not."""
        live = self._rollout.aliases
        reason = self._missing(live) or self._crew.problem()
        state: dict[str, Any] = {
            "ready": not reason,
            "reason": reason,
            "policies": dict(sorted(live.items())),
            "grpc_port": self.grpc_port,
            **self._crew.state(),
        }
        if ignored := self._source.ignored():
            state["ignored"] = list(ignored)
        if status := self._source.registry():
            state["registry"] = {
                "up": status.is_up,
                "serving": "what its aliases name, where that proved good"
                if status.is_up
                else "the last good versions",
                "last_success_timestamp_seconds": status.last_success,
                "error": status.error,
            }
        return state

    def _missing(self, live: Mapping[str, Mapping[str, str]]) -> str:
        """Why there is not everything to answer with; empty if there is."""
        missing = sorted(set(self._required) - live.keys())
        if self._is_draining:
            return "draining"
        if missing:
            return f"no version is live of {', '.join(missing)}"
        return "" if live else f"no policy is live{self._nowhere}"

    def _follow(self) -> None:
        """Follow the source until the end; what goes wrong is logged, and following begins again."""
        while not self._is_draining:
            try:
                self._apply_all()
            except Exception:
                if not self._is_draining:
                    log.exception("follow_failed")
                    time.sleep(RETRY_DELAY_S)

    def _apply_all(self) -> None:
        for desired in self._source.follow():
            verdicts = self._rollout.apply(desired)
            live = self._rollout.aliases
            self._metrics.observe_rollouts(verdicts, live, self._rollout.runs)
            missing = self._missing(live)
            # NOTE: whoever of the crew answers the health check is up, so that only what is live counts.
            self._crew.set_health(is_ready=not missing)
            self._source.tell(verdicts, live)
            if missing:
                log.warning("not_ready", reason=missing)

    def _exposition(self) -> bytes:
        return self._metrics.exposition(self._source.registry())


def run(settings: Settings, announce: Callable[[Service], None]) -> None:
    """Serve until SIGTERM or SIGINT, then drain; `announce` is called once both ports are bound.

    Raises:
        ConfigurationError: the service cannot start as it was told to.
    """
    service = Service(settings)
    signals = EndSignals()
    service.start()
    announce(service)
    signals.wait()
    log.info("draining", grace_s=GRACE_S)
    service.stop()
    log.info("stopped")
