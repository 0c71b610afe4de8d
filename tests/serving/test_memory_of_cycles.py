"""Python looks for cycles among what a service makes, and not among what it has imported."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from polserve.serving.memory import COLLECT_AFTER, collect_again, collect_later, collect_seldom


class Node:
    """What may stand in a cycle."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.enable()
    gc.set_threshold(*threshold)


def test_no_cycle_is_looked_for_while_a_process_starts() -> None:
    collect_later()
    made = weakref.ref(Node())
    _ = [[] for _ in range(10 * COLLECT_AFTER)]
    assert made() is not None
    assert not gc.isenabled()


@pytest.mark.parametrize("collect", [collect_again, collect_seldom])
def test_later_cycles_are_found_and_what_was_there_before_is_not_looked_at(collect: object) -> None:
    assert callable(collect)
    collect_later()
    before = weakref.ref(Node())
    collect()
    after = weakref.ref(Node())
    gc.collect()
    assert before() is not None
    assert after() is None
    assert gc.isenabled()
    assert (gc.get_threshold()[0] == COLLECT_AFTER) == (collect is collect_seldom)
