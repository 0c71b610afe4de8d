"""The gRPC server: services, health, reflection, limits."""

from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2

from polserve.serving.addresses import spelled, unavailable, why_not
from polserve.serving.episodes import OpenStreams
from polserve.serving.grpc.completion import CompletionLoop
from polserve.serving.grpc.interceptors import CallInterceptor
from polserve.serving.grpc.selftest import is_loop_usable
from polserve.serving.grpc.services import Services
from polserve.serving.grpc.standard import HEALTH, REFLECTION, health_handlers, reflection_handlers
from polserve.serving.metrics.answers import AnsweringMetrics
from polserve.serving.settings import Settings

THREADS = 16
"""Calls handled at once by the public server."""
MIN_PING_INTERVAL_MS = 9_000
"""Clients may probe a silent connection as often as this: every 10 s, and a little less, since clocks differ."""
PROBE_TIMEOUT_MS = 20_000
LAST_WORD_S = 0.5
"""Kept of the grace for telling open episodes that they end."""

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class GrpcServer:
    """PolicyService, BudgetService, grpc.health.v1.Health and reflection on one port."""

    def __init__(self, services: Services, streams: OpenStreams, metrics: AnsweringMetrics, settings: Settings) -> None:
        """Nothing is bound yet."""
        service, budget = services.policy, services.budget
        self._streams = streams
        self._server = grpc.server(
            ThreadPoolExecutor(THREADS, thread_name_prefix="grpc"),
            interceptors=[CallInterceptor(metrics)],
            options=server_options(settings),
            maximum_concurrent_rpcs=settings.max_waiting + streams.max_open,
        )
        handlers = service.handlers()
        self._loop: CompletionLoop | None = None
        act = metrics.rpc("unary", service.NAME, "Act")
        if settings.completion_loop and is_loop_usable():
            del handlers["Act"]
            method = f"/{service.NAME}/Act"
            self._loop = CompletionLoop(self._server, method, service.act.handle, act, max_waiting=settings.max_waiting)
        self._server.add_registered_method_handlers(service.NAME, handlers)
        self._server.add_registered_method_handlers(budget.NAME, budget.handlers())
        # A watcher of the health service must not hold a thread, so it answers through callbacks.
        self._health = health.HealthServicer(experimental_non_blocking=True)
        self._known: set[str] = set()
        self._health.set("", _NOT_SERVING)
        self._server.add_registered_method_handlers(HEALTH, health_handlers(self._health))
        names = (service.NAME, budget.NAME, HEALTH, REFLECTION)
        self._server.add_registered_method_handlers(REFLECTION, reflection_handlers(names))

    def bind(self, host: str, port: int) -> int:
        """The port that is bound, `port` unless that is 0.

        Raises:
            PortInUse: it cannot be bound.
        """
        try:
            return self._server.add_insecure_port(spelled(host, port))
        except RuntimeError as error:
            raise unavailable("grpc-port", host, port, why_not(host, port)) from error

    def start(self) -> None:
        """Answer calls."""
        self._server.start()
        if self._loop is not None:
            self._loop.start()

    def set_health(self, policies: AbstractSet[str], *, is_ready: bool) -> None:
        """Tell health checkers and watchers what can be answered: "" for the service, and each policy by name."""
        self._health.set("", _SERVING if is_ready else _NOT_SERVING)
        for name in policies - self._known:
            self._health.set(name, _SERVING)
        for name in self._known - policies:
            self._health.set(name, _UNKNOWN)
        self._known = set(policies)

    def drain(self, grace_s: float) -> None:
        """Tell health watchers, accept no more calls, and finish those in flight within `grace_s` seconds."""
        self._health.enter_graceful_shutdown()
        self._streams.drain()
        ended = self._server.stop(grace_s)
        if not ended.wait(max(0.0, grace_s - LAST_WORD_S)):
            self._streams.end_all()
        ended.wait()
        self._streams.end_all()
        if self._loop is not None:
            self._loop.stop()


def server_options(settings: Settings, min_ping_interval_ms: int = MIN_PING_INTERVAL_MS) -> list[tuple[str, int]]:
    """The options of the gRPC server.

    NOTE: gRPC ignores a name that it does not know; a test looks for each in the library.
    """
    max_bytes = settings.max_message_mib * 1024 * 1024
    return [
        ("grpc.max_receive_message_length", max_bytes),
        ("grpc.max_send_message_length", max_bytes),
        ("grpc.max_concurrent_streams", settings.max_streams),
        ("grpc.keepalive_time_ms", round(settings.keepalive * 1000)),
        ("grpc.keepalive_timeout_ms", PROBE_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", min_ping_interval_ms),
        # NOTE: with the default of 1 a second server on the same port is no error: it takes half of the calls.
        ("grpc.so_reuseport", int(settings.workers > 1)),
    ]
