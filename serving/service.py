"""The whole service, from its parts: what should be live, what may be, who answers, and the pages over HTTP."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from prometheus_client import CollectorRegistry

from polserve.serving.access.callers import Role
from polserve.serving.calls import Calls
from polserve.serving.console.rollouts import RolloutLog
from polserve.serving.console.routes import Known, console_routes, history_routes
from polserve.serving.doubts import Doubts
from polserve.serving.entrance import Entrance
from polserve.serving.errors import WorkersFailed
from polserve.serving.grpc.fronts import choose_front
from polserve.serving.http.inference_protocol import protocol_routes
from polserve.serving.http.openapi import openapi_route
from polserve.serving.http.pages import page_routes
from polserve.serving.http.policies import policy_routes
from polserve.serving.http.routes import Route
from polserve.serving.http.server import HttpServer
from polserve.serving.logs import Log
from polserve.serving.memory import collect_seldom
from polserve.serving.metrics.service import ServiceMetrics
from polserve.serving.processes.adopted import let_go_of_adopted
from polserve.serving.rollout import Rollout, Workers
from polserve.serving.settings.security import is_of_this_machine
from polserve.serving.settings.settings import Settings
from polserve.serving.signals import EndSignals
from polserve.serving.sources.source import Source
from polserve.serving.tls import lasting_context
from polserve.serving.validation.validator import Validator
from polserve.serving.versions import RolloutResult, Runaway

GRACE_S = 7.0
"""Seconds that calls in flight have to finish after SIGTERM; containers are usually killed after 10."""

RETRY_DELAY_S = 1.0
"""Seconds before following begins again after an unexpected error."""

log = Log()


class Service:
    """The service, which follows its source and answers calls from `start` to `stop`."""

    def __init__(self, settings: Settings, validator: Validator, source: Source) -> None:
        """Bind both ports; the service closes the validator and the source when it stops.

        Raises:
            ConfigurationError: the front that was chosen does not work here.
            PortInUse: a port cannot be bound.
        """
        settings = replace(settings, front=choose_front(settings.front))
        self._settings = settings
        _warn_of_strangers(settings)
        self._source = source
        self._validator = validator
        registry = CollectorRegistry()
        self._metrics = ServiceMetrics(registry, settings.front)
        self._rollouts = RolloutLog()
        self._http = HttpServer(settings.host, settings.http_port, settings.max_http_connections)
        self._workers = make_workers(settings, registry)
        is_list_fixed, audit = bool(settings.policy), self._workers.entrance.audit
        self._doubts = Doubts(settings, self._validator.validate, self._metrics.count_runaway)
        self._rollout = Rollout(self._doubts.validate, self._workers, is_list_fixed=is_list_fixed, audit=audit)
        self._telling = threading.Lock()
        self._workers.watch_runs(self._doubts.note_runaway)
        self._is_draining = False
        self.grpc_port, self.http_port = self._workers.grpc_port, self._http.port
        self._following = threading.Thread(target=self._follow, name="rollout", daemon=True)

    def start(self, give_up: Callable[[str], None], is_ending: Callable[[], bool]) -> None:
        """Answer calls, and follow the source; `give_up` is called with the reason when only a restart may help.

        It waits for nothing more once the service `is_ending`.
        """
        entrance = self._workers.entrance
        tls = None if entrance.certificates is None else lasting_context(entrance.certificates)
        self._http.start(self._routes(), entrance.guard, tls, self._metrics.count_http)
        self._workers.start(give_up, is_ending)
        self._doubts.start(self._rollout, self._tell)
        self._following.start()

    def stop(self) -> None:
        """Become not ready, accept no more, finish what is in flight, close."""
        self._is_draining = True
        self._doubts.close()
        self._workers.drain(GRACE_S)
        self._validator.close()
        self._source.close()
        self._http.stop()

    def readiness(self) -> dict[str, Any]:
        """Return what /readyz says: whether every required policy can answer, and why not."""
        live = self._rollout.aliases
        reason = self._missing(live) or self._workers.problem()
        state: dict[str, Any] = {
            "ready": reason is None,
            "reason": reason or "",
            "policies": dict(sorted(live.items())),
            "grpc_port": self.grpc_port,
            **({"tls": True} if self._settings.tls_files else {}),
            **self._workers.state(),
        }
        if withdrawn := self._rollout.withdrawn():
            state["withdrawn"] = withdrawn
        if refused := self._rollout.refused():
            state["refused"] = refused
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

    def _missing(self, live: Mapping[str, Mapping[str, str]]) -> str | None:
        """Say which policies are missing to answer with; None if there are all."""
        missing = sorted(set(self._settings.policy) - live.keys())
        if self._is_draining:
            return "draining"
        if missing:
            return f"no version is live of {', '.join(missing)}"
        if live:
            return None
        if not self._settings.mlflow_tracking_uri:
            return "no policy is live"
        looked_for = " or ".join(f"@{alias}" for alias in self._settings.aliases)
        return f"no policy is live: the registry was asked for {looked_for}"

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
        """Bring live what the source desires, each time that it desires something else."""
        for desired in self._source.follow():
            self._tell(self._rollout.apply(desired))

    def _tell(self, results: Sequence[RolloutResult]) -> None:
        """Tell everybody how versions fared, and what is live now; one thread at a time."""
        with self._telling:
            self._tell_all(results)

    def _tell_all(self, results: Sequence[RolloutResult]) -> None:
        self._rollouts.note(results)
        self._metrics.observe_rollouts(results, self._rollout.live)
        live = self._rollout.aliases
        missing = self._missing(live)
        self._source.tell(results, live)  # first: a worker that hangs would hold up the record of why
        # NOTE: a worker that answers the health check is up, so that only what is live counts.
        self._workers.set_health(is_ready=missing is None)
        if missing is not None:
            log.warning("not_ready", reason=missing)

    def _routes(self) -> list[Route]:
        """Make the table of what the HTTP port answers; of two routes for the same, the first one counts."""
        needed = Role.NONE if self._settings.metrics_access == "open" else Role.OBSERVE
        calls, max_body_bytes = self._workers.calls, self._settings.max_message_mib * 2**20
        known = Known(self.readiness, lambda: self._rollout.aliases, self._source.history, self._rollouts)
        routes = [
            *(console_routes(known) if self._settings.console else []),
            *page_routes(self._exposition, self.readiness, needed, self._workers.is_stuck),
            *policy_routes(calls),
            *protocol_routes(calls, max_body_bytes),
            *history_routes(known),
        ]
        return [*routes, openapi_route(routes)]

    def _exposition(self) -> bytes:
        """Write the page /metrics."""
        entrance = self._workers.entrance
        self._metrics.observe_entrance({**entrance.stale, **self._doubts.stale}, entrance.certificate_expires_at)
        return self._metrics.exposition(self._source.registry())


def _warn_of_strangers(settings: Settings) -> None:
    """Log that calls from other machines come without TLS, where they do."""
    if not settings.tls_files and not is_of_this_machine(settings.host):
        log.warning("not_encrypted", host=settings.host, remedy="--tls-cert and --tls-key encrypt calls")


class RunningWorkers(Workers, Protocol):
    """The workers as the service needs them."""

    grpc_port: int
    entrance: Entrance
    """What lets callers in who come by HTTP."""

    @property
    def calls(self) -> Calls:
        """Who answers the calls that come over HTTP."""

    def start(self, give_up: Callable[[str], None], is_ending: Callable[[], bool]) -> None:
        """Answer calls; `give_up` is called with the reason when no worker can be kept running.

        It waits for nothing more once the service `is_ending`.
        """

    def watch_runs(self, report: Callable[[Runaway], None]) -> None:
        """Have `report` called with each run of a model that took too much and was ended."""

    def is_stuck(self) -> bool:
        """Whether calls are not answered any more, and only a restart helps."""

    def set_health(self, *, is_ready: bool) -> None:
        """Tell health checkers whether the service is ready, and what is live."""

    def state(self) -> Mapping[str, Any]:
        """Return what /readyz says of the workers."""

    def problem(self) -> str | None:
        """Why calls cannot be answered; None if they can."""

    def drain(self, grace_s: float) -> None:
        """Accept no more, finish what is in flight, close."""


def make_workers(settings: Settings, registry: CollectorRegistry) -> RunningWorkers:
    """Make one worker in this process, or a supervisor of several processes.

    Raises:
        PortInUse: the gRPC port cannot be bound.
    """
    if settings.workers == 1:
        from polserve.serving.workers.in_process import InProcessWorker

        return InProcessWorker(settings, registry)
    from polserve.serving.workers.supervisor import Supervisor  # the supervisor needs neither gRPC nor ONNX Runtime

    return Supervisor(settings, registry, GRACE_S)


def run_service(settings: Settings, validator: Validator, source: Source, announce: Callable[[Service], None]) -> None:
    """Serve until SIGTERM or SIGINT, then drain; `announce` is called once both ports are bound.

    Raises:
        ConfigurationError: the service cannot start as it was told to.
        WorkersFailed: no worker can be kept running.
    """
    service = Service(settings, validator, source)
    collect_seldom()
    signals = EndSignals()
    let_go_of_adopted()
    failures: list[str] = []

    def give_up(reason: str) -> None:
        failures.append(reason)
        signals.end()

    service.start(give_up, signals.has_come)
    announce(service)
    signals.wait()
    log.info("draining", grace_s=GRACE_S)
    service.stop()
    log.info("stopped")
    if failures:
        raise WorkersFailed(failures[0])
