"""What the service as a whole measures, and the page that Prometheus scrapes."""

import os
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from polserve.serving.sources.source import RegistryStatus
from polserve.serving.versions import LiveVersions, Outcome, RolloutResult


class ServiceMetrics:
    """Gauges that speak for all processes, in the registry whose page is scraped."""

    def __init__(self, registry: CollectorRegistry, front: str) -> None:
        """`front` is what carries gRPC."""
        disable_created_metrics()  # a `_created` series for each child would double the page
        self._registry = registry
        labels = ("policy", "version", "alias", "run_id")
        self._policy_info = Gauge(
            "polserve_policy_info", "1 for each alias of a live version.", labels, registry=registry
        )
        self._rollouts = Counter("polserve_rollouts", "Versions tried.", ("policy", "outcome"), registry=registry)
        self._runaways = Counter(
            "polserve_runaways",
            "Runs of models that took too much and were ended.",
            ("policy", "version"),
            registry=registry,
        )
        self._http = Counter("polserve_http_requests", "HTTP requests.", ("path", "status"), registry=registry)
        self._http_counted: dict[tuple[str, int], Counter] = {}
        self._registry_gauges: tuple[Gauge, Gauge] | None = None
        self._stale: Gauge | None = None
        self._expiry: Gauge | None = None
        build = Gauge(
            "polserve_build_info",
            "1, with the version of polserve and what carries gRPC.",
            ("version", "front"),
            registry=registry,
        )
        build.labels(version("polserve"), front).set(1)

    def count_http(self, path: str, status: int) -> None:
        """Count a request over HTTP by the path of its route and the status of its answer."""
        counter = self._http_counted.get((path, status))
        if counter is None:
            counter = self._http_counted[path, status] = self._http.labels(path, str(status))
        counter.inc()

    def count_runaway(self, policy: str, version: str) -> None:
        """Count a run of a model that took too much and was ended."""
        self._runaways.labels(policy, version).inc()

    def observe_rollouts(self, results: Iterable[RolloutResult], live: LiveVersions) -> None:
        """Count the versions that were tried, and tell which ones answer now."""
        for result in results:
            for outcome in get_args(Outcome):  # all, so that the first of a kind is seen as an increase from 0
                self._rollouts.labels(result.policy, outcome).inc(outcome == result.outcome)
        self._policy_info.clear()
        for policy, named in live.items():
            for alias, one in named.items():
                self._policy_info.labels(policy, one.ref.version, alias, one.run_id).set(1)

    def observe_entrance(self, stale: Mapping[str, bool], certificate_expires_at: float | None) -> None:
        """Tell how long the certificate is valid, and which files were changed to what cannot be used."""
        if stale and self._stale is None:  # made where there are any: an absent file does not fail
            self._stale = Gauge(
                "polserve_reload_failed",
                "1 while a changed file cannot be used, and what it said before counts.",
                ("what",),
                registry=self._registry,
            )
        for what, is_stale in stale.items():
            if self._stale is not None:
                self._stale.labels(what).set(is_stale)
        if certificate_expires_at is not None:
            self._expiry = self._expiry or Gauge(
                "polserve_certificate_expires_timestamp_seconds",
                "When the service's certificate expires, Unix time.",
                registry=self._registry,
            )
            self._expiry.set(certificate_expires_at)

    def exposition(self, registry_status: RegistryStatus | None) -> bytes:
        """Return the page that Prometheus scrapes."""
        if registry_status is not None:
            # Made when a registry is first heard of: without one, "the registry is down" would be a false alarm.
            up, last_success = self._registry_gauges = self._registry_gauges or self._make_registry_gauges()
            up.set(registry_status.is_up)
            last_success.set(registry_status.last_success or 0)
        return generate_latest(self._registry)

    def _make_registry_gauges(self) -> tuple[Gauge, Gauge]:
        return (
            Gauge("polserve_registry_up", "1 while the registry answers.", registry=self._registry),
            Gauge(
                "polserve_registry_last_success_timestamp_seconds",
                "When the registry last answered, Unix time.",
                registry=self._registry,
            ),
        )


def collect_workers(registry: CollectorRegistry, folder: Path, pids: "WorkerPids") -> None:
    """Show on the page of `registry` what all workers measured into `folder`, and each one's process metrics."""
    MultiProcessCollector(registry, path=str(folder))
    registry.register(ProcessesCollector(pids))


class WorkerPids:
    """Which process is which, for those who look at it from outside."""

    def __init__(self) -> None:
        self.by_name = {"supervisor": os.getpid()}


class ProcessesCollector(Collector):
    """prometheus-client's process metrics, of several processes, with a label that says which."""

    def __init__(self, pids: WorkerPids) -> None:
        self._pids = pids

    def collect(self) -> Iterator[Metric]:
        """Return the metrics of every process that is alive."""
        merged: dict[str, Metric] = {}
        for name, pid in list(self._pids.by_name.items()):
            for metric in ProcessCollector(pid=lambda pid=pid: pid, registry=None).collect():  # type: ignore[misc]
                family = merged.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                for sample in metric.samples:
                    family.add_sample(sample.name, {"worker": name}, sample.value)
        yield from merged.values()
