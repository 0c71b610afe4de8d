"""The comparison of algorithms keeps what it found, and measures it as is said."""

import dataclasses
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from benchmarks.algorithms.measures import interquartile
from benchmarks.algorithms.problems import FACTOR, PROBLEMS, SHIFT, Moved
from benchmarks.algorithms.results import Plan, Result, Results

PLAN = Plan("polserve", "dqn", "CartPole-v1", "own", 1_000, 0)


def test_results_outlive_the_call_that_found_them(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "results.jsonl"
    found = Result(PLAN, 500.0, 8.5)
    Results(path).add(found)
    later = Results(path)
    assert PLAN in later
    assert list(later) == [found]
    assert dataclasses.replace(PLAN, seed=1) not in later


def test_a_line_that_a_kill_left_unfinished_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    Results(path).add(Result(PLAN, 500.0, 8.5))
    whole = path.read_text()
    path.write_text(whole + whole[: len(whole) // 2])
    assert [result.plan for result in Results(path)] == [PLAN]
    assert path.read_text() == whole


@pytest.mark.parametrize("line", ["{}", "[1]", "nonsense", '{"plan": {"side": "polserve"}}'])
def test_a_file_of_something_else_is_refused_with_its_line(line: str, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(ValueError, match="line 1: expected a result of this program"):
        Results(path)


def test_the_interquartile_mean_leaves_out_a_quarter_of_the_runs_at_either_end() -> None:
    found = interquartile([[-1_000.0, 1.0, 2.0, 3.0], [2.0, 4.0, 5.0, 1_000.0]])
    assert found.iqm == pytest.approx(np.mean([2.0, 2.0, 3.0, 4.0]))
    assert found.low <= found.iqm <= found.high


def test_runs_that_are_all_alike_have_an_interval_of_no_width() -> None:
    found = interquartile([[3.0, 3.0, 3.0]])
    assert (found.iqm, found.low, found.high) == (3.0, 3.0, 3.0)


def test_a_task_without_a_run_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one run of each task"):
        interquartile([[1.0], []])


def test_moved_observations_are_the_same_ones_in_other_units() -> None:
    own, moved = gym.make("Pendulum-v1"), Moved("Pendulum-v1")
    plain, _ = own.reset(seed=0)
    scaled, _ = moved.reset(seed=0)
    assert scaled == pytest.approx(plain * FACTOR + SHIFT, rel=1e-5)
    assert own.step(np.ones(1, np.float32))[1] == moved.step(np.ones(1, np.float32))[1]


def test_random_actions_score_nothing_and_the_goal_scores_one() -> None:
    for problem in PROBLEMS.values():
        assert problem.score(problem.random) == 0
        assert problem.score(problem.goal) == 1
