"""What a process that answers calls measures.

Label children are bound once: on the way of a call nothing is looked up.
"""

import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from polserve.serving.metrics.rpcs import RpcMetrics, Unpublished
from polserve.serving.metrics.tallies import CounterTally, HistogramTally
from polserve.serving.policy import Answer, Policy

SECONDS_BUCKETS = (
    *(50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3),
    *(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
)
"""Bounds in seconds, from 50 microseconds on: a small policy answers in less than the usual first bucket."""

BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096)

RETURN_BUCKETS = (
    *(-1000, -500, -200, -150, -100, -50, -20, -10, -5, -1, 0),
    *(1, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000),
)
"""Returns of episodes are of any sign and size."""

STAGES = ("arrived", "begun")
"""How far calls at grpcio come."""


@dataclass(slots=True)
class RunStatistics:
    """Sums of all runs of one version since this process began; seconds."""

    n_runs: int = 0
    n_observations: int = 0
    n_requests: int = 0
    run_s: float = 0.0
    """Time of the runs; each request counts the whole run that it was part of."""
    queue_s: float = 0.0
    """Time that the requests waited for their runs."""
    last: float = 0.0
    """When the last run ended, Unix time; 0 for never."""

    def add(self, n_observations: int, seconds: float, waited: Sequence[tuple[float, int]]) -> None:
        """Add a run; `waited` is seconds, and how many requests waited so."""
        self.n_runs += 1
        self.n_observations += n_observations
        for waited_s, n in waited:
            self.n_requests += n
            self.run_s += seconds * n
            self.queue_s += waited_s * n
        self.last = time.time()


class PolicyMetrics:
    """Metrics of one version of a policy; published by `flush`, many at a time."""

    def __init__(self, metrics: "AnsweringMetrics", policy: Policy) -> None:
        labels = (policy.name, policy.version)
        self.statistics = RunStatistics()
        self._observations = CounterTally(metrics.observations.labels(*labels))
        self._inference = HistogramTally(metrics.inference.labels(*labels))
        self._return = HistogramTally(metrics.episode_return.labels(*labels))
        self._gained = CounterTally(metrics.episode_return_parts.labels(*labels, "+"))
        self._lost = CounterTally(metrics.episode_return_parts.labels(*labels, "-"))
        self._terminated = CounterTally(metrics.episodes_ended.labels(*labels, "terminated"))
        self._truncated = CounterTally(metrics.episodes_ended.labels(*labels, "truncated"))
        self._start = policy.first_action
        numbers = range(self._start, self._start + (policy.n_actions or 0))
        self._actions = [CounterTally(metrics.actions.labels(*labels, str(i))) for i in numbers]
        named = policy.components if policy.choices is None else ()
        self._components = [HistogramTally(metrics.action_value.labels(*labels, name)) for name in named]
        self._names = () if policy.choices is None else policy.components
        self._chosen: dict[tuple[str, int], CounterTally] = {}
        self._family, self._labels = metrics.actions, labels

    def count_run(self, answer: Answer, seconds: float) -> None:
        """Count a run of the model that took `seconds` and gave this answer."""
        actions = answer.actions
        self._inference.add(seconds)
        self._observations.n += len(actions)
        if self._names:
            self._count_choices(actions.reshape(len(actions), -1))
        elif not self._actions:
            for component, column in zip(self._components, actions.reshape(len(actions), -1).T, strict=True):
                component.add_all(column)
        elif len(actions) == 1:
            self._actions[actions[0] - self._start].n += 1
        else:
            for action, count in enumerate(np.bincount(actions - self._start if self._start else actions).tolist()):
                if count:
                    self._actions[action].n += count

    def flush(self) -> None:
        """Publish what was counted."""
        for counter in (self._observations, *self._actions, *self._chosen.values()):
            counter.publish()
        for histogram in (self._inference, *self._components, self._return):
            histogram.publish()
        for counter in (self._gained, self._lost, self._terminated, self._truncated):
            counter.publish()

    def _count_choices(self, actions: NDArray[np.int64]) -> None:
        """Count what each component of actions (n, k) was; a value that was never chosen has no counter yet."""
        for name, column in zip(self._names, actions.T, strict=True):
            for value, count in zip(*np.unique(column, return_counts=True), strict=True):
                child = self._chosen.get((name, int(value)))
                if child is None:
                    child = CounterTally(self._family.labels(*self._labels, f"{name}={value}"))
                    self._chosen[name, int(value)] = child
                child.n += int(count)

    def count_episode(self, episode_return: float | None, *, is_truncated: bool) -> None:
        """Count an episode that was played to its end; its return is None where no reward was reported."""
        (self._truncated if is_truncated else self._terminated).n += 1
        if episode_return is not None:
            self._return.add(episode_return)
            part = self._gained if episode_return >= 0 else self._lost
            part.n += abs(episode_return)


class AnsweringMetrics:
    """Every metric of a process that answers calls, in a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        disable_created_metrics()
        self._registry = registry
        call = ("grpc_type", "grpc_service", "grpc_method")
        self._started = self._counter("grpc_server_started", "RPCs that were begun.", call)
        self._handled = self._counter("grpc_server_handled", "RPCs that were answered.", (*call, "grpc_code"))
        self._handling = self._histogram("grpc_server_handling_seconds", "Time from begin to answer.", call)
        answering = ("policy", "version")
        reasons = ("grpc_method", "reason")
        self._refused = self._counter("polserve_calls_refused", "Calls that there was no room for.", reasons)
        self.actions = self._counter("polserve_actions", "Discrete actions answered.", (*answering, "action"))
        self.action_value = self._histogram(
            "polserve_action_value",
            "Continuous actions answered, in the environment's units.",
            (*answering, "component"),
            Histogram.DEFAULT_BUCKETS,
        )
        self.observations = self._counter("polserve_observations", "Observations answered.", answering)
        self.inference = self._histogram("polserve_inference_seconds", "Time of one run of the model.", answering)
        self._queue = HistogramTally(
            self._histogram("polserve_queue_seconds", "Time that a call waited for its model.", ())
        )
        self._batch_size = HistogramTally(
            self._histogram("polserve_batch_size", "Observations in one run of a model.", (), BATCH_BUCKETS)
        )
        self.episodes_active = Gauge(
            "polserve_episodes_active",
            "Open streams of episodes.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.connections = Gauge(
            "polserve_connections", "Open connections of gRPC.", registry=registry, multiprocess_mode="livesum"
        )
        self.episode_return = self._histogram(
            "polserve_episode_return", "Returns of ended episodes, by reported rewards.", answering, RETURN_BUCKETS
        )
        self.episode_return_parts = self._counter(
            "polserve_episode_return_parts",
            "Sum of the absolute returns, by their sign: a sum that falls would be no counter.",
            (*answering, "sign"),
        )
        self.episodes_ended = self._counter(
            "polserve_episodes_ended", "Episodes that were played to their end.", (*answering, "end")
        )
        self._denied = self._counter("polserve_calls_denied", "Calls of those who may not make them.", ("reason",))
        self._arrivals = self._counter(
            "polserve_grpcio_calls",
            "Calls that arrived at grpcio, and those of them that it let begin.",
            ("grpc_method", "stage"),
        )
        self._arrived: dict[str, dict[str, Counter]] = {}
        """Counters of a method's calls, by stage."""
        self._rpcs: dict[tuple[str, str, str], RpcMetrics] = {}
        self._unpublished: set[Unpublished] = set()
        self._policies: dict[tuple[object, ...], PolicyMetrics] = {}
        self._last: tuple[Callable[[], Policy | None], PolicyMetrics | None] = (lambda: None, None)
        """The version that was asked for last, which most of the time is asked for again."""

    def count_denied(self, reason: str) -> None:
        """Count a call that was denied; reasons are few."""
        self._denied.labels(reason).inc()

    def count_arrival(self, method: str, stage: str) -> None:
        """Count a call at grpcio that has come to this one of the stages."""
        stages = self._arrived.get(method)
        if stages is None:  # both at once: where none of a method's calls begins, that is a number, too
            stages = self._arrived[method] = {each: self._arrivals.labels(method, each) for each in STAGES}
        stages[stage].inc()

    def rpc(self, kind: str, service: str, method: str) -> RpcMetrics:
        """Return the metrics of one method; `kind` is "unary", "server_stream" or "bidi_stream"."""
        labels = (kind, service, method)
        if labels not in self._rpcs:
            families = (self._started, self._handled, self._handling, self._refused)
            self._rpcs[labels] = RpcMetrics(families, labels, self._unpublished)
        return self._rpcs[labels]

    def flush(self) -> None:
        """Publish what was counted of calls and runs."""
        for metrics in self._unpublished:
            metrics.flush()
        self._unpublished.clear()
        self._queue.publish()
        self._batch_size.publish()

    def count_run(self, policy: Policy, answer: Answer, seconds: float, waited: Sequence[tuple[float, int]]) -> None:
        """Count a run of a model; `waited` is seconds, and how many callers waited so."""
        self._batch_size.add(len(answer.actions))
        for waited_s, n in waited:
            self._queue.add(waited_s, n)
        metrics = self.policy(policy)
        metrics.count_run(answer, seconds)
        metrics.statistics.add(len(answer.actions), seconds, waited)
        self._unpublished.add(metrics)

    def count_episode(self, policy: Policy, episode_return: float | None, *, is_truncated: bool) -> None:
        """Count an episode that was played to its end; its return is None where no reward was reported."""
        metrics = self.policy(policy)
        metrics.count_episode(episode_return, is_truncated=is_truncated)
        self._unpublished.add(metrics)

    def statistics(self, policy: Policy) -> RunStatistics:
        """Return what the runs of one version came to in this process."""
        return self.policy(policy).statistics

    def policy(self, policy: Policy) -> PolicyMetrics:
        """Return the metrics of one version."""
        last, metrics = self._last
        if metrics is not None and last() is policy:
            return metrics
        key = (policy.name, policy.version, policy.first_action, policy.n_actions, policy.components)
        found = self._policies.get(key)
        if found is None:
            found = self._policies[key] = PolicyMetrics(self, policy)
        self._last = (weakref.ref(policy), found)
        return found

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def _histogram(
        self, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...] = SECONDS_BUCKETS
    ) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self._registry)
