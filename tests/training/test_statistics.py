import numpy as np
import pytest

from protos.polserve.v1 import policy_pb2 as pb
from tests.support import make_version
from training.promotion import decide
from training.registry.versions import VersionName
from training.schedules import linear
from training.statistics import summarise


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


def spec(mean: float, environment: str = "CartPole-v1") -> pb.PolicySpec:
    spec = pb.PolicySpec()
    spec.CopyFrom(make_version(mean=mean).spec)
    spec.environment.id = environment
    return spec


@pytest.mark.parametrize(
    ("candidate", "champion", "is_allowed"), [(500, 500, True), (499.5, 500, True), (400, 500, False)]
)
def test_a_candidate_is_refused_only_where_its_interval_lies_below(
    candidate: float,
    champion: float,
    is_allowed: bool,  # noqa: FBT001 - a case
) -> None:
    decision = decide(spec(candidate), spec(champion))
    assert decision.is_allowed is is_allowed
    assert f"the champion's {champion:.2f}" in decision.reason


@pytest.mark.parametrize(("episodes", "first_seed"), [(0, 2_000_000_000), (100, 5)])
def test_missing_or_other_evidence_is_no_evidence(episodes: int, first_seed: int) -> None:
    candidate = spec(500)
    candidate.evaluation.episodes, candidate.evaluation.first_seed = episodes, first_seed
    assert not decide(candidate, spec(400)).is_allowed


def test_returns_of_different_environments_are_not_compared() -> None:
    decision = decide(spec(500, "CartPole-v0"), spec(500))
    assert not decision.is_allowed
    assert "cannot be compared" in decision.reason


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
