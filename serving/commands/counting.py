"""What a service answers and how fast, read off its page /metrics: the difference of two looks."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from prometheus_client.parser import text_string_to_metric_families

from polserve.serving.commands.pages import Pages

Labels: TypeAlias = tuple[tuple[str, str], ...]
"""Labels of a series, sorted by name."""
Series: TypeAlias = Mapping[str, Mapping[Labels, float]]
"""Every value of a page, by its name and labels."""
Wanted: TypeAlias = Callable[[Mapping[str, str]], bool]
"""Whether a series counts, by its labels."""


@dataclass(frozen=True, slots=True)
class VersionRates:
    """What one version answered between two looks."""

    observations: float
    """Observations answered a second."""
    model_s: tuple[float | None, float | None]
    """Median and 99th percentile of the time of a run of the model, in seconds; None where there was none."""
    mean_return: float | None
    """Mean return of all episodes whose rewards were reported; None where there were none."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What a service answered between two looks."""

    calls: float
    """Calls ended a second, but those of streams, of health checks and of reflection."""
    errors: float
    """Calls and streams a second that ended with another status than OK."""
    call_s: tuple[float | None, float | None]
    """Median and 99th percentile of the time of a call, in seconds."""
    waiting_s: tuple[float | None, float | None]
    """Median and 99th percentile of the time that a call waited for its model, in seconds."""
    episodes: int
    """Streams of episodes that are open."""
    versions: Mapping[tuple[str, str], VersionRates]
    """By policy and version."""


class Counter:
    """A page of metrics, read again and again for what happened between two looks."""

    def __init__(self, pages: Pages) -> None:
        """Look at the page that `pages` has at its address."""
        self.problem = ""
        """Why nothing is known; empty if something is."""
        self._pages = pages
        self._before: Series | None = None
        self._looked = 0.0

    def rates(self) -> Rates | None:
        """Look again; return what happened since the last look, None if that is not known."""
        now = time.monotonic()
        try:
            series = read_series(self._pages.read())
        except (OSError, ValueError) as error:
            self.problem = f"no metrics at {self._pages.address} ({error}); give their address with --metrics"
            return None
        before, seconds = self._before, now - self._looked
        self._before, self._looked, self.problem = series, now, ""
        return None if before is None else _rates(before, series, seconds)


def read_series(text: str) -> Series:
    """Read a page of metrics."""
    series: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            series.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = float(sample.value)
    return series


def _rates(before: Series, after: Series, seconds: float) -> Rates:
    def risen(name: str, is_wanted: Wanted) -> float:
        return sum(value for _, value in _increases(before, after, name, is_wanted))

    def percentiles(name: str, is_wanted: Wanted) -> tuple[float | None, float | None]:
        buckets: dict[float, float] = {}
        for labels, value in _increases(before, after, f"{name}_bucket", is_wanted):
            bound = float(labels["le"])
            buckets[bound] = buckets.get(bound, 0.0) + value
        return quantile(sorted(buckets.items()), 0.5), quantile(sorted(buckets.items()), 0.99)

    def version_rates(policy: str, version: str) -> VersionRates:
        def is_its(labels: Mapping[str, str]) -> bool:
            return (labels["policy"], labels["version"]) == (policy, version)

        return VersionRates(
            risen("polserve_observations_total", is_its) / seconds,
            percentiles("polserve_inference_seconds", is_its),
            _mean_return(after, is_its),
        )

    names = [dict(labels) for labels in after.get("polserve_observations_total", {})]
    return Rates(
        calls=risen("grpc_server_handled_total", _is_call) / seconds,
        errors=risen("grpc_server_handled_total", lambda labels: labels["grpc_code"] != "OK") / seconds,
        call_s=percentiles("grpc_server_handling_seconds", _is_call),
        waiting_s=percentiles("polserve_queue_seconds", lambda _labels: True),
        episodes=int(sum(after.get("polserve_episodes_active", {}).values())),
        versions={(one["policy"], one["version"]): version_rates(one["policy"], one["version"]) for one in names},
    )


def _is_call(labels: Mapping[str, str]) -> bool:
    is_ours = not any(other in labels["grpc_service"] for other in ("Health", "Reflection"))
    return is_ours and labels["grpc_type"] == "unary"


def _increases(
    before: Series, after: Series, name: str, is_wanted: Wanted
) -> Iterable[tuple[Mapping[str, str], float]]:
    """Yield by how much each series of a name has risen; one that fell began again with its process."""
    earlier = before.get(name, {})
    for key, value in after.get(name, {}).items():
        labels = dict(key)
        if is_wanted(labels):
            risen = value - earlier.get(key, 0.0)
            yield labels, risen if risen >= 0 else value


def _mean_return(series: Series, is_its: Wanted) -> float | None:
    def total(name: str, sign: str = "") -> float:
        found = [(dict(key), value) for key, value in series.get(name, {}).items()]
        return sum(value for labels, value in found if is_its(labels) and labels.get("sign", "") == sign)

    n = total("polserve_episode_return_count")
    parts = "polserve_episode_return_parts_total"
    return (total(parts, "+") - total(parts, "-")) / n if n else None


def quantile(buckets: Sequence[tuple[float, float]], part: float) -> float | None:
    """Estimate a quantile from cumulative buckets, evenly spread inside each; None where they are empty.

    Args:
        buckets: upper bound and count of each, by bound.
        part: of the values that lie below it, 0 to 1.
    """
    n = buckets[-1][1] if buckets else 0.0
    if not n:
        return None
    low, below = 0.0, 0.0
    for bound, count in buckets:
        if count >= part * n:
            break
        low, below = bound, count
    if bound == float("inf") or count == below:
        return low
    return low + (bound - low) * (part * n - below) / (count - below)
