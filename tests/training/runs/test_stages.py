"""Progress of what a run does beside training."""

import io

import numpy as np
import pytest
from rich.console import Console

from polserve.training.evaluation.episodes import play_episodes
from polserve.training.runs import stages
from polserve.training.runs.stages import Stages, counted_from
from tests.support.strangers import Line, registered

TITLES = ("exporting, and checking the graph", "drawing the learning curve and the returns", "playing 2,000 episodes")


def console(*, is_terminal: bool) -> tuple[Console, io.StringIO]:
    output = io.StringIO()
    return Console(file=output, width=80, force_terminal=is_terminal, color_system=None), output


@pytest.mark.parametrize("title", TITLES)
def test_a_stage_fits_into_eighty_columns(title: str) -> None:
    shown, output = console(is_terminal=True)
    with Stages(shown).stage(title, 2000) as stage:
        stage.reach(1000)
    assert f"{title} " in output.getvalue()
    assert "2000/2000 0:00:00" in output.getvalue()


def test_elsewhere_a_stage_is_a_line() -> None:
    shown, output = console(is_terminal=False)
    with Stages(shown).stage("solving", 4) as stage:
        stage.advance()
    assert output.getvalue() == "solving\n"


def test_elsewhere_a_long_stage_says_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "LINE_INTERVAL_S", -1.0)
    shown, output = console(is_terminal=False)
    with Stages(shown).stage("solving", 4) as stage:
        counted_from(stage, 2)(1)
        stage.reach(9)
    assert output.getvalue().splitlines() == [
        "solving",
        "solving: 3 of 4, about 0 s left",
        "solving: 4 of 4, about 0 s left",
    ]


def test_until_a_part_is_done_the_time_left_is_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "LINE_INTERVAL_S", -1.0)
    shown, output = console(is_terminal=False)
    with Stages(shown).stage("playing", 4) as stage:
        stage.reach(0.5)
        stage.reach(1)
    assert [line.partition(", ")[2] for line in output.getvalue().splitlines()[1:]] == [
        "at most 0 s left",
        "about 0 s left",
    ]


def test_episodes_that_no_one_ends_are_counted_by_their_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "LINE_INTERVAL_S", -1.0)
    shown, output = console(is_terminal=False)
    with registered(Line) as spec, Stages(shown).stage("playing", 4) as stage:
        play_episodes(lambda seen: np.zeros(len(seen), np.int64), spec, 2, 0, 10, report=counted_from(stage, 2))
    lines = output.getvalue().splitlines()
    assert lines[1] == "playing: 2 of 4, about 0 s left"
    assert [line.split(",")[0] for line in lines[5:]] == ["playing: 3 of 4"] * 5 + ["playing: 4 of 4"]
