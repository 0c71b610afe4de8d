import numpy as np
import pytest

from polserve.protos.shared.version_names import VersionName
from polserve.training.evaluation.statistics import summarise
from polserve.training.learning.schedules import linear


def test_the_summary_of_known_returns() -> None:
    summary = summarise([0.0, 10.0, 20.0, 1000.0])
    assert summary.mean == 257.5
    assert summary.iqm == 15.0
    assert summary.standard_deviation == pytest.approx(np.std([0, 10, 20, 1000], ddof=1))
    assert summary.interval_low < summary.mean < summary.interval_high


def test_equal_returns_have_an_interval_of_no_width() -> None:
    summary = summarise([500.0] * 100)
    assert (summary.mean, summary.interval_low, summary.interval_high) == (500.0, 500.0, 500.0)


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    summaries = [summarise(rng.normal(3.0, 1.0, size=50)) for _ in range(200)]
    covered = sum(summary.interval_low <= 3.0 <= summary.interval_high for summary in summaries)
    assert 180 <= covered <= 199


def test_one_return_has_no_spread() -> None:
    with pytest.raises(ValueError, match="at least two returns, got 1"):
        summarise([1.0])


@pytest.mark.parametrize(("step", "value"), [(0, 1.0), (50, 0.75), (100, 0.5), (1000, 0.5)])
def test_a_linear_schedule_ends_where_it_should(step: int, value: float) -> None:
    assert linear(step, 1.0, 0.5, 100) == value


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("cartpole", VersionName("cartpole")),
        ("cartpole/7", VersionName("cartpole", version="7")),
        ("cartpole@challenger", VersionName("cartpole", alias="challenger")),
        ("cartpole/@challenger", VersionName("cartpole", alias="challenger")),
    ],
)
def test_a_version_is_named_as_the_command_line_writes_it(text: str, name: VersionName) -> None:
    assert VersionName.parse(text) == name
