"""What was champion before: the record of an alias."""

import pytest

from polserve.protos.shared.alias_history import MAX_MOVES, Move, earlier, extended, parse_history, points_at


def record(*moves: str) -> list[Move]:
    """Moves to the versions named; a rollback is written with a minus before the version."""
    return [Move(move.lstrip("-"), "", "", is_rollback=move.startswith("-")) for move in moves]


@pytest.mark.parametrize(
    ("moves", "current", "expected"),
    [
        ((), "1", []),
        (("1",), "1", []),
        (("1", "2", "3"), "3", ["2", "1"]),
        (("1", "2", "3", "-2"), "2", ["1"]),
        (("1", "2", "3", "-2", "4"), "4", ["2", "1"]),
        (("1", "2", "2"), "2", ["1"]),
        (("1", "2"), "3", ["2", "1"]),  # moved by hand, and nobody wrote it down
        (("1", "2", "1"), "1", ["2"]),  # moved back by hand: a move like any other
        (("2", "-1"), "1", ["2"]),  # the move to 1 is older than the record
        (("1", "2", "3", "-1"), "1", []),
        (("1", "2", "1", "3", "-1"), "1", ["2"]),
        (("1", "2", "3", "2", "-2"), "2", ["1"]),  # seen by a service before the rollback was written down
    ],
)
def test_earlier_champions_are_those_that_were_not_rolled_back_from(
    moves: tuple[str, ...], current: str, expected: list[str]
) -> None:
    assert earlier(record(*moves), current) == expected


def test_a_record_goes_on_after_what_it_held() -> None:
    text = extended(extended("", Move.now("1", "polserve promote")), Move.now("2", "seen by polserve"))
    moves = [(move.version, move.by) for move in parse_history(text)]
    assert moves == [("1", "polserve promote"), ("2", "seen by polserve")]
    assert points_at(text, "2")
    assert not points_at(text, "1")


@pytest.mark.parametrize("damaged", ["", "{", "3", '["1"]', '[{"version": 1}]', "null"])
def test_a_damaged_record_is_begun_anew(damaged: str) -> None:
    assert parse_history(damaged) == []
    assert not points_at(damaged, "1")


def test_a_record_never_grows_past_what_a_tag_may_hold() -> None:
    text = ""
    for number in range(MAX_MOVES + 10):
        text = extended(text, Move.now(str(number), "x" * 500))
    assert len(parse_history(text)) == MAX_MOVES
    assert len(text) < 100_000
