"""Arguments of steps as YAML gives them, checked."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Doubles: TypeAlias = NDArray[np.float64]


class StepFault(ValueError):
    """A step's argument is none, or the step does not go with the array that it is given."""

    def __init__(self, expected: str, got: object) -> None:
        super().__init__(f"expected {expected}, got {'nothing' if got is None else got}")


def is_number(value: object) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and bool(np.isfinite(value))


def numbers(argument: Any) -> Doubles:
    """Read a number, or a list of them, as float64."""
    listed = argument if isinstance(argument, list) else [argument]
    if not listed or not all(is_number(value) for value in listed):
        raise StepFault("a number, or a list of numbers", argument)
    return np.array(argument, np.float64)


def nothing(argument: Any) -> None:
    """Raise StepFault where a step has an argument that takes none."""
    if argument is not None:
        raise StepFault("no argument", argument)


def pair(argument: Any, form: str) -> list[Any]:
    """Read a list of two."""
    if not isinstance(argument, list) or len(argument) != 2:  # noqa: PLR2004 - a pair
        raise StepFault(form, argument)
    return argument


def whole(argument: Any, lowest: int | None) -> int:
    """Read a whole number, not below the lowest."""
    if not isinstance(argument, int) or isinstance(argument, bool) or (lowest is not None and argument < lowest):
        raise StepFault("a whole number" if lowest is None else f"a whole number of {lowest} or more", argument)
    return argument


def wholes(argument: Any, lowest: int) -> tuple[int, ...]:
    """Read a list of whole numbers, none below the lowest."""
    if not isinstance(argument, list) or not argument:
        raise StepFault("a list of whole numbers", argument)
    return tuple(whole(value, lowest) for value in argument)


def word(argument: Any, words: Sequence[str]) -> str:
    """Read one of a few words."""
    if argument not in words:
        raise StepFault(" or ".join(words), argument)
    return str(argument)


def exactly(argument: Any, required: set[str], optional: set[str]) -> Mapping[str, Any]:
    """Read a mapping that has all of the required keys, and no other but optional ones."""
    keys = set(argument) if isinstance(argument, Mapping) else set()
    if not isinstance(argument, Mapping) or not required <= keys <= required | optional:
        more = f", and if need be {', '.join(sorted(optional))}" if optional else ""
        raise StepFault(f"a mapping with {', '.join(sorted(required))}{more}", argument)
    return argument
