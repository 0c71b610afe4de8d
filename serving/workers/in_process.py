"""One worker, in this process."""

from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector

from polserve.serving.settings.settings import Settings
from polserve.serving.versions import AcceptedVersion, LiveVersions, Runaway
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
        self._max_silence_s = settings.max_silence
        self._epoch = LocalEpoch()
        self._worker = Worker(settings, registry, self._epoch, Share())
        self.calls = self._worker.calls
        self.entrance = self._worker.entrance
        self.grpc_port = self._worker.bind(settings.host, settings.grpc_port)

    def start(self, give_up: Callable[[str], None], is_ending: Callable[[], bool]) -> None:
        """Answer calls; nothing is given up or waited for here, since the worker is this process."""
        del give_up, is_ending
        self._worker.start()

    def watch_runs(self, report: Callable[[Runaway], None]) -> None:
        """Have `report` called with each run of a model that took too much and was ended.

        One that does not end holds up this process until its operator is through: the limits of graphs bound that.
        """
        self._worker.watch.report = report

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

    def problem(self) -> str | None:
        """Say that the loop that answers calls hangs; None where it goes round."""
        silent_s = self._worker.silent_s()
        if silent_s < self._max_silence_s:
            return None
        return f"the loop that answers calls has not moved for {silent_s:.0f} s; restart the service"

    def is_stuck(self) -> bool:
        """Return whether only a restart helps."""
        return self.problem() is not None

    def drain(self, grace_s: float) -> None:
        """Accept no more, finish what is in flight, close."""
        self._worker.drain(grace_s)
