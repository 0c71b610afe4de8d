"""What is counted first and published later comes to what prometheus-client would have counted at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from polserve.serving.metrics.answers import RETURN_BUCKETS, SECONDS_BUCKETS
from polserve.serving.metrics.tallies import MANY, CounterTally, HistogramTally, PublishedFirst


def page_of(registry: CollectorRegistry) -> list[str]:
    """The lines of buckets and counts; a sum may differ by rounding."""
    lines = generate_latest(registry).decode().splitlines()
    return [line for line in lines if "_bucket" in line or "_count" in line]


@given(
    values=st.lists(st.tuples(st.floats(-2000, 20_000), st.integers(1, 5)), max_size=20),
    buckets=st.sampled_from([SECONDS_BUCKETS, RETURN_BUCKETS]),
)
def test_many_values_at_once_are_counted_as_one_by_one(
    values: list[tuple[float, int]], buckets: tuple[float, ...]
) -> None:
    pages = []
    for is_together in (True, False):
        registry = CollectorRegistry()
        histogram = Histogram("h", "h", ("label",), registry=registry, buckets=buckets).labels("x")
        tally = HistogramTally(histogram)
        for value, n in values:
            if is_together:
                tally.add(value, n)
            else:
                for _ in range(n):
                    histogram.observe(value)
        tally.publish()
        pages.append(page_of(registry))
    assert pages[0] == pages[1]


@pytest.mark.parametrize("n", [3, MANY - 1, MANY, 1000])
def test_an_array_is_counted_as_its_values_are(n: int) -> None:
    values = np.random.default_rng(n).normal(0, 300, n).astype(np.float32)
    values[:3] = (-100, 1, 10_000)  # on bounds
    pages, sums = [], []
    for is_array in (True, False):
        registry = CollectorRegistry()
        histogram = Histogram("h", "h", registry=registry, buckets=RETURN_BUCKETS)
        tally = HistogramTally(histogram)
        if is_array:
            tally.add_all(values)
        else:
            for value in values.tolist():
                tally.add(value)
        tally.publish()
        pages.append(page_of(registry))
        sums.append(registry.get_sample_value("h_sum"))
    assert pages[0] == pages[1]
    assert sums[0] == pytest.approx(sums[1])


def test_a_value_on_a_bound_belongs_to_its_bucket() -> None:
    registry = CollectorRegistry()
    tally = HistogramTally(Histogram("h", "h", registry=registry, buckets=(1.0, 2.0)))
    for value in (1.0, 2.0, 2.5):
        tally.add(value)
    tally.publish()
    page = generate_latest(registry).decode()
    assert 'h_bucket{le="1.0"} 1.0' in page
    assert 'h_bucket{le="2.0"} 2.0' in page
    assert 'h_bucket{le="+Inf"} 3.0' in page
    assert "h_sum 5.5" in page


def test_what_was_published_is_not_published_again() -> None:
    registry = CollectorRegistry()
    counter = CounterTally(Counter("c", "c", registry=registry))
    histogram = HistogramTally(Histogram("h", "h", registry=registry))
    counter.n += 2
    histogram.add(1.0)
    for _ in range(2):
        counter.publish()
        histogram.publish()
    assert registry.get_sample_value("c_total") == 2
    assert registry.get_sample_value("h_count") == 1
    assert registry.get_sample_value("h_sum") == 1.0


def test_a_page_holds_what_was_counted_before_it_was_asked_for() -> None:
    registry = CollectorRegistry()
    first = PublishedFirst()
    registry.register(first)
    tally = CounterTally(Counter("c", "c", registry=registry))
    first.publish = tally.publish
    tally.n += 3
    assert "c_total 3.0" in generate_latest(registry).decode()
