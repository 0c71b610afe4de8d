"""Where each value of a graph comes from, so that no observation decides how large a result becomes."""

from collections.abc import Iterable, MutableMapping
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from polserve.protos.graphs.limits import GraphRefused
from polserve.protos.graphs.operators import COUNTING, PARTS, SIZES
from polserve.protos.polserve.onnx import model_pb2 as pb


class Level(IntEnum):
    """What something depends on at most."""

    CONSTANT = 0
    SHAPES = 1
    """The number of observations, and the shapes of what the graph takes."""
    NUMBERS = 2
    """The numbers in an observation, or in what is remembered."""


class Origin(NamedTuple):
    """What a value depends on."""

    content: Level
    shape: Level


Origins: TypeAlias = MutableMapping[str, Origin]
"""Origin of each value that a node sees, by name."""

FIXED = Origin(Level.CONSTANT, Level.CONSTANT)
GIVEN = Origin(Level.NUMBERS, Level.SHAPES)
"""Origin of what the graph takes."""
UNKNOWN = Origin(Level.NUMBERS, Level.NUMBERS)


def origin_of(node: pb.Node, origins: Origins) -> Origin:
    """Return where the results of a node without subgraphs come from.

    Raises:
        GraphRefused: the numbers of an observation decide how large they become.
    """
    inputs = [origins.get(name, UNKNOWN) if name else FIXED for name in node.input]
    for place in SIZES.get(node.op_type, ()):
        if place < len(inputs) and inputs[place].content is Level.NUMBERS:
            raise GraphRefused(
                f"node {node.name or node.output[0]!r} ({node.op_type})",
                "a result whose size follows from the observation's shape",
                f"one whose size follows from its numbers, by {node.input[place]!r}",
                "one observation could then take all memory; give it a fixed size",
            )
    content, shape = union(inputs)
    if node.op_type in {"Shape", "Size"}:
        return Origin(max(shape, Level.CONSTANT), Level.CONSTANT)
    sizes = (*SIZES.get(node.op_type, ()), *PARTS.get(node.op_type, ()))
    shape = max([shape, *(inputs[place].content for place in sizes if place < len(inputs))])
    if node.op_type in COUNTING:
        shape = max(shape, content)
    return Origin(content, shape)


def union(origins: Iterable[Origin]) -> Origin:
    """Return the origin of what depends on all of these."""
    every = list(origins)
    return Origin(
        max((origin.content for origin in every), default=Level.CONSTANT),
        max((origin.shape for origin in every), default=Level.CONSTANT),
    )
