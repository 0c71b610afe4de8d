"""Many values are observed at once as each by itself would be."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from polserve.serving.metrics.answers import RETURN_BUCKETS, SECONDS_BUCKETS, observe_many


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
        if is_together:
            observe_many(histogram, values)
        else:
            for value, n in values:
                for _ in range(n):
                    histogram.observe(value)
        lines = generate_latest(registry).decode().splitlines()
        pages.append([line for line in lines if "_bucket" in line or "_count" in line])
    assert pages[0] == pages[1]


def test_a_value_on_a_bound_belongs_to_its_bucket() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("h", "h", registry=registry, buckets=(1.0, 2.0))
    observe_many(histogram, [(1.0, 1), (2.0, 1), (2.5, 1)])
    page = generate_latest(registry).decode()
    assert 'h_bucket{le="1.0"} 1.0' in page
    assert 'h_bucket{le="2.0"} 2.0' in page
    assert 'h_bucket{le="+Inf"} 3.0' in page
    assert "h_sum 5.5" in page
