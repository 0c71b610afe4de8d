"""The ledger's promise, for any whole numbers: within limits, never above what is left, next to nothing lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polserve.serving.ledger import Binding, Wish, allocate

INT64 = 2**63 - 1
MONEY = st.one_of(st.integers(0, 10**6), st.integers(0, INT64))


@st.composite
def questions(draw: st.DrawFn) -> tuple[list[Wish], int]:
    """Wishes whose floors fit into what remains."""
    wishes, floors = [], 0
    for wanted, floor, extra in draw(st.lists(st.tuples(MONEY, MONEY, MONEY), min_size=1, max_size=8)):
        wishes.append(Wish(wanted, floor, floor + extra))
        floors += floor
    return wishes, floors + draw(MONEY)


@given(questions())
def test_spends_keep_to_their_limits_and_to_what_is_left(question: tuple[list[Wish], int]) -> None:
    wishes, remaining = question
    spends = allocate(wishes, remaining)
    assert sum(spend.micros for spend in spends) <= remaining
    for wish, spend in zip(wishes, spends, strict=True):
        assert wish.floor_micros <= spend.micros <= wish.cap_micros


@given(questions())
def test_rounding_loses_less_than_a_micro_a_channel(question: tuple[list[Wish], int]) -> None:
    wishes, remaining = question
    wanted = sum(min(max(wish.wanted_micros, wish.floor_micros), wish.cap_micros) for wish in wishes)
    spent = sum(spend.micros for spend in allocate(wishes, remaining))
    assert min(wanted, remaining) - spent <= len(wishes) - 1


@given(questions())
def test_the_binding_says_why_a_spend_is_not_what_was_wanted(question: tuple[list[Wish], int]) -> None:
    wishes, remaining = question
    for wish, spend in zip(wishes, allocate(wishes, remaining), strict=True):
        if spend.binding is Binding.NONE:
            assert spend.micros == wish.wanted_micros
        if spend.binding is Binding.FLOOR:
            assert spend.micros == wish.floor_micros > wish.wanted_micros
        if spend.binding is Binding.CAP:
            assert spend.micros == wish.cap_micros < wish.wanted_micros


def test_only_the_part_above_the_floors_is_scaled_down() -> None:
    spends = allocate([Wish(300, 100, 1000), Wish(700, 0, 1000)], 550)
    assert [spend.micros for spend in spends] == [100 + 200 * 450 // 900, 700 * 450 // 900]


def test_products_beyond_64_bits_are_exact() -> None:
    spends = allocate([Wish(INT64, 0, INT64), Wish(INT64, 0, INT64)], INT64)
    assert [spend.micros for spend in spends] == [INT64 // 2, INT64 // 2]


@pytest.mark.parametrize(
    ("wishes", "remaining"), [([Wish(0, 2, 5), Wish(0, 2, 5)], 3), ([Wish(0, 5, 4)], 10), ([Wish(0, -1, 4)], 10)]
)
def test_impossible_limits_are_refused(wishes: list[Wish], remaining: int) -> None:
    with pytest.raises(ValueError, match="floors must fit"):
        allocate(wishes, remaining)
