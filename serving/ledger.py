"""Money in whole numbers: spends that together never exceed what is left."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Binding(Enum):
    """What kept a spend from being what was wanted."""

    NONE = "none"
    FLOOR = "floor"
    CAP = "cap"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a channel is wanted to spend, and within which limits: 0 <= floor <= cap."""

    wanted_micros: int
    floor_micros: int
    cap_micros: int


@dataclass(frozen=True, slots=True)
class Spend:
    """What a channel may spend, and why it is not what was wanted."""

    micros: int
    binding: Binding


def allocate(wishes: Sequence[Wish], remaining_micros: int) -> list[Spend]:
    """Spends within their limits, whose sum is at most `remaining_micros`.

    Where the wishes exceed it, what they have above their floors is scaled down by one factor. All in Python's
    integers, which neither round nor overflow: at most len(wishes) - 1 micros of what is wanted are lost.

    Raises:
        ValueError: the floors alone exceed what is left, or a floor its cap.
    """
    floors = [wish.floor_micros for wish in wishes]
    if sum(floors) > remaining_micros or any(not 0 <= wish.floor_micros <= wish.cap_micros for wish in wishes):
        raise ValueError(f"floors must fit under caps and what is left, {remaining_micros}; got {list(wishes)}")
    limited = [min(max(wish.wanted_micros, wish.floor_micros), wish.cap_micros) for wish in wishes]
    if sum(limited) <= remaining_micros:
        return [Spend(micros, _binding(wish, micros)) for wish, micros in zip(wishes, limited, strict=True)]
    above = [micros - floor for micros, floor in zip(limited, floors, strict=True)]
    room = remaining_micros - sum(floors)
    scaled = [floor + extra * room // sum(above) for floor, extra in zip(floors, above, strict=True)]
    return [
        Spend(micros, _binding(wish, before) if micros == before else Binding.BUDGET)
        for wish, before, micros in zip(wishes, limited, scaled, strict=True)
    ]


def _binding(wish: Wish, micros: int) -> Binding:
    if micros == wish.wanted_micros:
        return Binding.NONE
    return Binding.FLOOR if micros > wish.wanted_micros else Binding.CAP
