"""The line of progress is whole, however narrow the terminal."""

import io
import re
from collections.abc import Callable

import pytest
from rich.console import Console

from polserve.training.learning.progress import Progress, TrainingFigures
from polserve.training.runs import progress, stages
from polserve.training.runs.progress import ProgressDisplay, Standing

LATE = Standing(
    Progress(
        step=3_499_968,
        steps=8_000_000,
        selection_steps=1_234_567,
        episodes=12_345,
        best_score=2345.6,
        is_report_due=True,
    ),
    TrainingFigures(recent_return=-1234.5, environment_steps_per_s=12_345.6, samples_per_s=123_456.7, metrics={}),
    elapsed_s=3600.0,
)


def show_late(display: ProgressDisplay) -> None:
    display.show(LATE)


def drawn(name: str, width: int, follow: Callable[[ProgressDisplay], None] = show_late) -> str:
    """The last line that a terminal of that width shows."""
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None, legacy_windows=False)
    with ProgressDisplay(name, console) as display:
        follow(display)
    assert isinstance(console.file, io.StringIO)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())
    return [line.rstrip() for line in text.replace("\r", "\n").split("\n") if name in line][-1]


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
@pytest.mark.parametrize("name", ["cartpole", "a-name-of-24-letters-all"])
def test_name_bar_step_and_time_left_are_whole_at_any_width(name: str, width: int) -> None:
    line = drawn(name, width)
    assert "…" not in line
    assert re.match(rf"{name} [━╸╺]+ +3,499,968/8,000,000 .*[-0-9]:[-0-9]{{2}}:[-0-9]{{2}}", line)
    assert len(line) <= width


def test_rates_are_left_out_first() -> None:
    assert drawn("cartpole", 80).endswith("return -1234.5")
    assert "return -1234.5, best greedy 2345.6" in drawn("cartpole", 100)
    assert "evaluated on 1,234,567 steps" in drawn("cartpole", 140)
    assert "learner 123,457 samples/s" in drawn("cartpole", 220)


def test_without_a_terminal_there_are_no_bars() -> None:
    console = Console(file=io.StringIO(), width=80)
    with ProgressDisplay("cartpole", console) as display:
        display.show(LATE)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == ""


def test_a_line_does_not_promise_that_training_ends_at_the_step_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_INTERVAL_S", -1.0)
    console = Console(file=io.StringIO(), soft_wrap=True)
    with ProgressDisplay("cartpole", console) as display:
        display.show(LATE)
    assert isinstance(console.file, io.StringIO)
    assert "learned from 3,499,968 of about 8,000,000 steps" in console.file.getvalue()


def test_a_long_evaluation_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "LINE_INTERVAL_S", -1.0)
    console = Console(file=io.StringIO(), soft_wrap=True)
    with ProgressDisplay("cartpole", console) as display:
        display.evaluate(5_000, 0.5, 30)
        display.go_on()
        display.evaluate(10_000, 30.0, 30)
    assert isinstance(console.file, io.StringIO)
    first, second = console.file.getvalue().splitlines()
    assert first.startswith("cartpole: playing 30 greedy games at step 5,000: 0 of 30, at most ")
    assert second.startswith("cartpole: playing 30 greedy games at step 10,000: 30 of 30, about 0 s left")


@pytest.mark.parametrize(("is_over", "told"), [(False, "evaluating: 3 of 30 games"), (True, "best greedy 2345.6")])
def test_on_a_terminal_the_bar_says_how_far_an_evaluation_is(*, is_over: bool, told: str) -> None:
    def follow(display: ProgressDisplay) -> None:
        display.show(LATE)
        display.evaluate(LATE.progress.step, 3.2, 30)
        if is_over:
            display.go_on()

    assert drawn("cartpole", 100, follow).endswith(told)
