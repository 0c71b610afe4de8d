"""Lift tests as strangers bring them: read, or refused with what is wrong."""

from pathlib import Path

import numpy as np
import pytest

from polserve.training.errors import InvalidOption
from polserve.training.runs.request import TrainRequest
from polserve.training.tasks.adbudget.curves.lift import LiftEvidence, LiftRows, LiftTest, read_lift_tests

HEADER = "channel,spend,spend_change,sales_change,standard_error"
CHANNELS = ("facebook", "search")


def read(tmp_path: Path, *lines: str) -> list[LiftTest]:
    path = tmp_path / "tests.csv"
    path.write_text("\n".join(lines))
    return read_lift_tests(path, CHANNELS)


def test_each_line_is_a_lift_test_of_a_channel(tmp_path: Path) -> None:
    tests = read(tmp_path, f"{HEADER},days,note", "Facebook,300,-300,-410.5,60,21,holdout", "search,100,50,40,10,0,")
    assert tests == [
        LiftTest("facebook", 300.0, -300.0, -410.5, 60.0, 21),
        LiftTest("search", 100.0, 50.0, 40.0, 10.0, 0),
    ]


@pytest.mark.parametrize(
    "line",
    ["Search;1.300,50;-1.300,50;-1.240,5;60;28", "search;1300,5;\N{MINUS SIGN}1300,5;-1240,5;60;28,000"],
)
def test_numbers_are_read_as_those_of_a_history(tmp_path: Path, line: str) -> None:
    (test,) = read(tmp_path, f"{HEADER},days".replace(",", ";"), line)
    assert test == LiftTest("search", 1300.5, -1300.5, -1240.5, 60.0, 28)


def test_an_effect_with_two_readings_is_refused_with_both(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match=r"'-1\.240' can be read in two ways, as -1\.24 .* as -1240"):
        read(tmp_path, HEADER, "search,600,-600,-1.240,150")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([HEADER], "expected at least one lift test, got a header alone"),
        (["channel,spend_change", "search,1"], "line 1: expected a header with channel, spend, spend_change"),
        ([HEADER, "tv,300,-300,-410,60"], "line 2: channel: expected a channel of the history (facebook, search)"),
        (
            [HEADER, "search,300,lots,40,60"],
            "line 2: spend_change: expected a plain number such as -1234.56, of at most 1e+12, got 'lots'",
        ),
        ([HEADER, "search,300,-400,40,60"], "line 2: spend_change: expected a change, to no less than 0 from 300"),
        ([HEADER, "search,300,0,40,60"], "line 2: spend_change: expected a change"),
        ([HEADER, "search,300,10,40,0"], "line 2: standard_error: expected a positive number, got 0"),
        ([HEADER, "search,300,10,nan,5"], "line 2: sales_change: expected a plain number such as -1234.56, of"),
        ([f"{HEADER},days", "search,300,10,4,5,2.5"], "line 2: days: expected 0 to 366 whole days, got 2.5"),
        ([HEADER, "search,300,-300,-410,1e-7"], "line 2: standard_error: expected at least a thousandth of the effect"),
        ([HEADER, "search,1e300,10,40,5"], "line 2: spend: expected a plain number such as -1234.56, of at most"),
        ([HEADER, "search,300,10,-1e13,5e11"], "of at most 1e+12, got -1e13"),
        ([HEADER, "search,300,10,(40),5"], "got '(40)'; write what is below 0 with a minus in front, such as -5.00"),
        (
            [f"{HEADER},days", "search,300,10,4,5,"],
            "line 2: days: expected a plain number of at most 366, got ''; what is missing",
        ),
    ],
)
def test_a_line_that_is_no_lift_test_is_refused(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(InvalidOption) as refused:
        read(tmp_path, *lines)
    assert said in str(refused.value)


def test_a_test_that_found_nothing_backs_no_curve_that_the_history_makes_high() -> None:
    assert LiftEvidence(tests=1, signal=2.5, shown=2.4, disagreement=-0.1).backs
    found_nothing = LiftEvidence(tests=1, signal=2.5, shown=0.0, disagreement=-2.5)
    assert not found_nothing.backs
    assert found_nothing.doubt == "its lift tests do not tell the curve from none"


def test_a_test_above_all_spends_of_the_history_backs_no_curve() -> None:
    test = LiftTest("search", spend=100.0, spend_change=50.0, sales_change=40.0, standard_error=5.0)
    foretold = np.array([40.0])
    for most, said in ((101.0, None), (99.0, "1 of its lift tests ran above all spends of the history")):
        rows = LiftRows([test], ["search"], np.array([[10.0], [most]]), np.ones(1), 1.0)
        evidence = rows.evidence(0, foretold, foretold[None])
        assert evidence.backs == (said is None)
        assert (evidence.doubt or "").startswith(said or "")


def test_lift_tests_without_a_history_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="lift: expected lift tests beside data"):
        TrainRequest("adbudget", lift=tmp_path / "tests.csv").recipe()
