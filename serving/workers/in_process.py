"""One worker, in this process."""

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector

from polserve.serving.settings import Settings
from polserve.serving.versions import AcceptedVersion, LiveVersions
from polserve.serving.workers.epoch import LocalEpoch
from polserve.serving.workers.worker import Share, Worker


class InProcessWorker:
    """The only worker; it needs no supervisor."""

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        """Bind the gRPC port.

        Raises:
            PortInUse: it cannot be bound.
        """
        ProcessCollector(registry=registry)
        self._epoch = LocalEpoch()
        self._worker = Worker(settings, registry, self._epoch, Share())
        self.calls = self._worker.calls
        self.entrance = self._worker.entrance
        self.grpc_port = self._worker.bind(settings.host, settings.grpc_port)

    def start(self) -> None:
        """Answer calls."""
        self._worker.start()

    def prepare(self, version: AcceptedVersion) -> None:
        """Load the version; raises RolloutRefused."""
        self._worker.loader.prepare(version)

    def switch(self, live: LiveVersions) -> None:
        """Answer every call that comes from now on by `live`."""
        epoch = self._epoch.read() + 1
        self._worker.loader.stage(epoch, live)
        self._epoch.write(epoch)

    def set_health(self, *, is_ready: bool) -> None:
        """Tell health checkers whether the service is ready, and what is live."""
        self._worker.set_health(is_ready=is_ready)

    def state(self) -> Mapping[str, Any]:
        """Return what /readyz says of the workers: nothing, as the only one is this process."""
        return {}

    def problem(self) -> None:
        """Return None: this process answers."""

    def drain(self, grace_s: float) -> None:
        """Accept no more, finish what is in flight, close."""
        self._worker.drain(grace_s)
