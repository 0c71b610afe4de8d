"""Fits of response curves that a file keeps."""

import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from benchmarks.response import Results


def line(seed: int, error: float) -> str:
    curve = {"verdict": "interval", "is_held": [True, False, True], "error": error}
    return json.dumps({"kind": "clean", "seed": seed, "curves": [curve]}) + "\n"


@pytest.mark.starts_processes
def test_a_run_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(line(0, 0.25) + line(1, float("inf")) + line(2, 0.5)[:20])
    with ProcessPoolExecutor(1) as pool:
        kept = Results(path).of("clean", 2, pool)
        assert [each.error for each in kept] == [0.25, float("inf")]
        more = Results(path).of("clean", 3, pool)
    assert more[:2] == kept
    assert len(more) == 2 + 3
    assert len(path.read_text().splitlines()) == 3
    with ProcessPoolExecutor(1) as pool:
        assert Results(path).of("clean", 3, pool) == more


def test_a_file_of_something_else_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(line(0, 0.25) + '{"plan": {}}\n')
    with pytest.raises(SystemExit, match="line 2: no result of this program"):
        Results(path)


@pytest.mark.starts_processes
def test_nothing_is_kept_without_a_file() -> None:
    with ProcessPoolExecutor(1) as pool:
        assert len(Results(None).of("clean", 1, pool)) == 3
