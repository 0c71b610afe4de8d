"""Every target takes its seeds, the cases that once broke it, and some thousand changes of both."""

import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.fuzz.calls import call_targets
from tests.fuzz.readers import reader_targets
from tests.support.mutation import changed

CASES = Path(__file__).with_name("cases")
CHANGES = {"front": 400, "crowded-front": 400, "loading": 25, "import": 100, "model": 200, "tokens": 100}
"""Changed seeds that a target gets, where they are not as many as most get."""
MOST_GET = 300

TARGETS = {**call_targets(), **reader_targets()}


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_target_takes_its_seeds_and_what_changes_make_of_them(name: str) -> None:
    target = TARGETS[name]
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    target.run(b"")
    for seed in target.seeds:
        target.run(seed)
    for _ in range(CHANGES.get(name, MOST_GET)):
        data = changed(target.seeds[int(rng.integers(len(target.seeds)))], rng)
        try:
            target.run(data)
        except Exception as error:
            error.add_note(f"{name} with {data!r}")
            raise


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_what_once_broke_a_target_does_so_no_more(name: str) -> None:
    for case in sorted((CASES / name).glob("*")):
        TARGETS[name].run(case.read_bytes())
