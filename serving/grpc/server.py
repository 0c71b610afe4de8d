"""The gRPC server: services, health, reflection, limits."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from protos.polserve.v1 import policy_pb2, policy_pb2_grpc
from serving.catalog import LivePolicy
from serving.errors import PortInUse
from serving.grpc.interceptors import CallInterceptor
from serving.grpc.services import PolicyService
from serving.metrics import Metrics

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
THREADS = 16
"""Calls handled at once."""

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class GrpcServer:
    """PolicyService, grpc.health.v1.Health and reflection on one port."""

    def __init__(self, service: PolicyService, metrics: Metrics, host: str, port: int) -> None:
        """Bind the port; calls are answered after `start`.

        Raises:
            PortInUse: the port cannot be bound.
        """
        self._server = grpc.server(
            ThreadPoolExecutor(THREADS, thread_name_prefix="grpc"),
            interceptors=[CallInterceptor(metrics)],
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                # NOTE: with the default of 1 a second server on the same port is no error: it takes half of the calls.
                ("grpc.so_reuseport", 0),
            ],
        )
        # A watcher of the health service must not hold a thread, so it answers through callbacks.
        self._health = health.HealthServicer(experimental_non_blocking=True)
        self._known: set[str] = set()
        self._health.set("", _NOT_SERVING)
        policy_pb2_grpc.add_PolicyServiceServicer_to_server(service, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (
            policy_pb2.DESCRIPTOR.services_by_name["PolicyService"].full_name,
            health.SERVICE_NAME,
            reflection.SERVICE_NAME,
        )
        reflection.enable_server_reflection(names, self._server)
        try:
            self.port = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            raise PortInUse(
                f"grpc-port: {host}:{port} cannot be bound: another program may listen there, or --host is no "
                "address of this machine; choose another with --grpc-port or --host"
            ) from error

    def start(self) -> None:
        """Answer calls."""
        self._server.start()

    def set_health(self, live: Mapping[str, LivePolicy], *, is_ready: bool) -> None:
        """Tell health checkers and watchers what can be answered: "" for the service, and each policy by name."""
        self._health.set("", _SERVING if is_ready else _NOT_SERVING)
        for name in live.keys() - self._known:
            self._health.set(name, _SERVING)
        for name in self._known - live.keys():
            self._health.set(name, _UNKNOWN)
        self._known = set(live)

    def drain(self, grace_s: float) -> None:
        """Tell health watchers, accept no more calls, and finish those in flight within `grace_s` seconds."""
        self._health.enter_graceful_shutdown()
        self._server.stop(grace_s).wait()
