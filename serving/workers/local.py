"""A crew of one worker, in this process."""

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector

from polserve.serving.settings import Settings
from polserve.serving.sources.source import Desired, VersionRef
from polserve.serving.workers.epoch import LocalEpoch
from polserve.serving.workers.worker import Share, Worker


class LocalCrew:
    """Answers calls in this process."""

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        """Bind the gRPC port.

        Raises:
            PortInUse: it cannot be bound.
        """
        ProcessCollector(registry=registry)
        self._epoch = LocalEpoch()
        self._worker = Worker(settings, registry, self._epoch, Share())
        self.grpc_port = self._worker.bind(settings.host, settings.grpc_port)

    def start(self) -> None:
        """Answer calls."""
        self._worker.start()

    def prepare(self, ref: VersionRef) -> str:
        """The version is loaded, ready to answer; or why not."""
        return self._worker.shelf.prepare(ref)

    def switch(self, live: Desired) -> None:
        """From now on every call is answered by `live`."""
        epoch = self._epoch.read() + 1
        if problem := self._worker.shelf.stage(epoch, live):
            raise RuntimeError(problem)
        self._epoch.write(epoch)

    def set_health(self, *, is_ready: bool) -> None:
        """Tell health checkers."""
        self._worker.set_health(is_ready=is_ready)

    def state(self) -> Mapping[str, Any]:
        """What /readyz says of the crew: nothing, it is this process."""
        return {}

    def problem(self) -> str:
        """Why calls cannot be answered; this process answers."""
        return ""

    def drain(self, grace_s: float) -> None:
        """Accept no more, finish what is in flight, close."""
        self._worker.drain(grace_s)
