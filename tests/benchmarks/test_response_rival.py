"""What is counted of two fits of the same histories."""

import subprocess
import sys

import numpy as np
import pytest

from benchmarks.response import POINTS
from benchmarks.response_rival import AT_MEAN, Fitted, fit_both


def fitted(low: float, middle: float, high: float, truth: float) -> Fitted:
    intervals = np.tile([low, middle, high], (1, len(POINTS), 1))
    return Fitted(intervals, np.full((1, len(POINTS)), truth), nothing=10.0, cpu_s=1.0)


@pytest.mark.parametrize(
    ("truth", "interval", "is_held"),
    [
        (100.0, (90.0, 95.0, 110.0), True),
        (100.0, (101.0, 105.0, 110.0), False),
        (100.0, (80.0, 85.0, 99.0), False),
        (0.0, (9.0, 15.0, 30.0), True),
        (0.0, (11.0, 15.0, 30.0), False),
    ],
)
def test_intervals_hold_the_truth_and_nothing_is_what_is_next_to_it(
    truth: float, interval: tuple[float, float, float], *, is_held: bool
) -> None:
    assert fitted(*interval, truth).is_held.tolist() == [[is_held] * len(POINTS)]


def test_widths_and_errors_are_parts_of_what_a_channel_sells() -> None:
    assert fitted(90.0, 95.0, 110.0, 100.0).relative.tolist() == [[pytest.approx(0.2), pytest.approx(0.05)]]
    assert len(fitted(0.0, 5.0, 30.0, 0.0).relative) == 0


def test_both_sides_are_asked_of_the_same_spends() -> None:
    reader = "import json, sys\nfor line in sys.stdin:\n    asked = json.loads(line)\n"
    answer = "{'intervals': {k: [[x, x, x] for x in v] for k, v in asked['spends'].items()}, 'cpu_s': 1, 'r_hat': 1}"
    echo = f"{reader}    print(json.dumps({answer}), flush=True)"
    command = [sys.executable, "-c", echo]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as rival:
        own, theirs, _ = fit_both("clean", 0, rival)
        assert rival.stdin is not None
        rival.stdin.close()
    assert own.truth.tolist() == theirs.truth.tolist()
    spends = theirs.intervals[:, :, 1]
    assert spends == pytest.approx(np.outer(spends[:, AT_MEAN], POINTS))
    assert (np.diff(own.intervals[:, :, 1]) > 0).all()


def test_a_python_without_the_rival_is_an_error_of_one_line() -> None:
    command = [sys.executable, "-c", "raise SystemExit(3)"]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as rival,
        pytest.raises(SystemExit, match="exit status 3; it needs pymc-marketing"),
    ):
        fit_both("clean", 0, rival)
