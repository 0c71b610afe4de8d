"""The numbers of an observation by name, in the order in which FlattenObservation puts them."""

from collections.abc import Iterator
from itertools import islice
from math import prod
from typing import Any, NamedTuple, TypeAlias

import gymnasium as gym
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from polserve.protos.shared.layout import Layout
from polserve.training.environments.layouts import layout_of
from polserve.training.environments.spaces import flat_size
from polserve.training.errors import UnsupportedEnvironment

Pairs: TypeAlias = tuple[tuple[str, str], ...]
"""(name, unit) of each number."""

MOST_NAMES = 4096
"""Numbers that are named by their keys; an image in a Dict has more."""


MOST_CHARACTERS = 200
"""Most characters of a name."""


class Part(NamedTuple):
    """A number of a flattened observation."""

    name: str
    key: str
    """Key of the Dict that it comes from."""
    is_quantity: bool
    """Whether it is what the key names, and no 0 or 1 for one of its values."""


def parts(space: gym.Space[Any]) -> list[Part]:
    """Numbers that a Dict or a Tuple is flattened to, named by its keys; none where it has too many of them."""
    if not isinstance(space, (Dict, Tuple)):
        return []
    found = list(islice(_parts(space, "", ""), MOST_NAMES + 1))
    return found if len(found) <= MOST_NAMES else []


def laid_out(pairs: Pairs, layout: Layout) -> Pairs:
    """Names and units of the numbers of a layout, with the units that `pairs` of one-hot numbers give."""
    names = _numbers(layout)
    units = dict(pairs)
    return pairs if len(pairs) == len(names) else tuple((name, units.get(name, "")) for name in names)


def told_components(environment_id: str, space: gym.Space[Any], told: Any) -> Pairs:
    """Names and units that metadata["observation_components"] gives; of a Dict, one for each key or for each number.

    Raises:
        UnsupportedEnvironment: it is of another form or length.
    """
    named = parts(space)
    keys = tuple(dict.fromkeys(part.key for part in named))
    n = len(named) or prod(space.shape or ())
    layout = layout_of(space) if named else None
    n_laid_out = len(_numbers(layout)) if layout is not None else n
    lengths = {n, n_laid_out, len(keys)} if keys else {n}
    pairs = told_pairs(environment_id, "observation_components", told, *lengths)
    units = dict(pairs)
    if named and units.keys() == set(keys):
        return tuple((part.name, units[part.key] if part.is_quantity else "") for part in named)
    if pairs and len(pairs) not in {n, n_laid_out}:
        raise _unfit(environment_id, "observation_components", f"[name, unit] of each of {', '.join(keys)}", told)
    return pairs


def told_pairs(environment_id: str, key: str, told: Any, *lengths: int) -> Pairs:
    """Names and units that metadata gives, as many as one of `lengths`; () where it gives none."""
    try:
        pairs = tuple((str(name), str(unit)) for name, unit in told or ())
    except (TypeError, ValueError):
        pairs = None
    if pairs is None or len(pairs) not in {0, *lengths} or not all(_is_name(*pair) for pair in pairs):
        raise _unfit(environment_id, key, f"{' or '.join(map(str, sorted(lengths)))} of [name, unit]", told)
    return pairs


def _numbers(layout: Layout) -> list[str]:
    """Names of the numbers of a layout, by their keys; none where it has too many of them."""
    sizes = [part.size for part in layout.parts]
    if sum(sizes) > MOST_NAMES:
        return []
    return [
        part.name if size == 1 else f"{part.name} {i}"
        for part, size in zip(layout.parts, sizes, strict=True)
        for i in range(size)
    ]


def _is_name(*texts: str) -> bool:
    """Whether texts can be written into a spec and read from it."""
    return all(text.isprintable() and len(text) <= MOST_CHARACTERS for text in texts)


def told_labels(environment_id: str, space: gym.Space[Any], told: Any) -> tuple[str, ...]:
    """Labels that metadata["action_labels"] gives; () where it gives none.

    Raises:
        UnsupportedEnvironment: these are not the names of as many discrete actions as there are.
    """
    n = int(space.n) if isinstance(space, Discrete) else 0
    try:
        labels = () if told is None else tuple(map(str, told))
    except TypeError:
        labels = None
    if labels is None or isinstance(told, str) or len(labels) not in {0, n} or not _is_name(*labels):
        raise _unfit(environment_id, "action_labels", f"the names of its {n} discrete actions", told)
    return labels


def _unfit(environment_id: str, key: str, expected: str, told: object) -> UnsupportedEnvironment:
    shown = repr(told)[:MOST_CHARACTERS]
    return UnsupportedEnvironment(f"{environment_id}: metadata[{key!r}]: expected {expected}, got {shown}")


def _parts(space: gym.Space[Any], name: str, key: str) -> Iterator[Part]:
    if isinstance(space, (Dict, Tuple)):
        inner = space.spaces.items() if isinstance(space, Dict) else enumerate(space.spaces)
        for part_name, part in inner:
            yield from _parts(part, f"{name}.{part_name}" if name else str(part_name), key or str(part_name))
    elif isinstance(space, Discrete):
        yield from (Part(f"{name} = {space.start + i}", key, is_quantity=False) for i in range(int(space.n)))
    elif isinstance(space, MultiDiscrete):
        for index, (n, start) in enumerate(zip(space.nvec.ravel(), space.start.ravel(), strict=True)):
            yield from (Part(f"{name} {index} = {start + i}", key, is_quantity=False) for i in range(int(n)))
    else:
        n = prod(space.shape or ()) if isinstance(space, (Box, MultiBinary)) else flat_size(space) or 1
        yield from (Part(name if n == 1 else f"{name} {i}", key, is_quantity=True) for i in range(n))
