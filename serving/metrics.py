"""The Prometheus metrics of the service."""

from collections.abc import Mapping
from importlib.metadata import version

import numpy as np
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from serving.catalog import LivePolicy
from serving.policy import Answer, Policy
from serving.sources.source import RegistryStatus, Verdict

SECONDS_BUCKETS = (
    *(50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3),
    *(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
)
"""From 50 microseconds: a small policy answers in less than the usual first bucket."""


class Metrics:
    """Every metric, in a registry of its own."""

    def __init__(self) -> None:
        disable_created_metrics()  # a `_created` series for each child would double the page
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        call = ("grpc_type", "grpc_service", "grpc_method")
        self.started = self._counter("grpc_server_started", "RPCs that were begun.", call)
        self.handled = self._counter("grpc_server_handled", "RPCs that were answered.", (*call, "grpc_code"))
        self.handling = self._histogram("grpc_server_handling_seconds", "Time from an RPC's begin to its answer.", call)
        self._actions = self._counter("polserve_actions", "Discrete actions answered.", ("policy", "version", "action"))
        self._action_value = self._histogram(
            "polserve_action_value",
            "Continuous actions answered, in the environment's units.",
            ("policy", "version", "component"),
            buckets=Histogram.DEFAULT_BUCKETS,
        )
        answering = ("policy", "version")
        self._observations = self._counter("polserve_observations", "Observations answered.", answering)
        self._inference = self._histogram("polserve_inference_seconds", "Time in ONNX Runtime.", answering)
        self._policy_info = self._gauge(
            "polserve_policy_info", "1 for each alias of a live version.", ("policy", "version", "alias", "run_id")
        )
        self._rollouts = self._counter("polserve_rollouts", "Versions tried.", ("policy", "outcome"))
        self._registry: tuple[Gauge, Gauge] | None = None
        build = self._gauge("polserve_build_info", "1, with the version of polserve.", ("version",))
        build.labels(version("polserve")).set(1)

    def observe_answer(self, policy: Policy, answer: Answer, seconds: float) -> None:
        """`policy` answered so, and ONNX Runtime took `seconds`."""
        name, number = policy.name, policy.version
        self._observations.labels(name, number).inc(len(answer.actions))
        self._inference.labels(name, number).observe(seconds)
        if policy.n_actions is not None:
            counts = np.bincount(answer.actions, minlength=policy.n_actions)
            for action in np.flatnonzero(counts).tolist():
                self._actions.labels(name, number, action).inc(int(counts[action]))
        else:
            for component, column in zip(policy.components, answer.actions.T, strict=True):
                child = self._action_value.labels(name, number, component)
                for value in column.tolist():
                    child.observe(value)

    def observe_rollouts(self, verdicts: list[Verdict], live: Mapping[str, LivePolicy]) -> None:
        """These versions were tried, and this is live now."""
        for verdict in verdicts:
            self._rollouts.labels(verdict.policy, "refused" if verdict.reason else "live").inc()
        self._policy_info.clear()
        for policy in live.values():
            for alias, number in policy.aliases.items():
                run_id = policy.versions[number].spec.provenance.run_id
                self._policy_info.labels(policy.name, number, alias, run_id).set(1)

    def exposition(self, registry_status: RegistryStatus | None) -> bytes:
        """The page that Prometheus scrapes."""
        if registry_status is not None:
            up, last_success = self._registry = self._registry or self._registry_gauges()
            up.set(registry_status.is_up)
            last_success.set(registry_status.last_success or 0)
        return generate_latest(self.registry)

    def _registry_gauges(self) -> tuple[Gauge, Gauge]:
        """Made when a registry is first heard of: without one, "the registry is down" would be a false alarm."""
        return (
            self._gauge("polserve_registry_up", "1 while the registry answers.", ()),
            self._gauge(
                "polserve_registry_last_success_timestamp_seconds", "When the registry last answered, Unix time.", ()
            ),
        )

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...]) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...] = SECONDS_BUCKETS
    ) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)
