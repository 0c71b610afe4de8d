"""Steps that move numbers and change none: other axes, another shape, a part of them."""

from dataclasses import dataclass
from math import prod
from typing import Any

from polserve.training.imports.graphs.arguments import StepFault, nothing, pair, wholes, word
from polserve.training.imports.graphs.nodes import Nodes
from polserve.training.imports.graphs.steps import Array, Step

TO_LAYOUT = {"nchw": (2, 0, 1), "nhwc": (1, 2, 0)}
"""Axes of an image in the other layout, in their order in this one."""
GREY = 2
"""Axes of an image without channels."""


@dataclass(frozen=True, slots=True)
class Transpose:
    """Put the axes of an observation into another order."""

    axes: tuple[int, ...]

    def compute(self, array: Array) -> Array:
        """Turn the axes."""
        return array.transpose(self._whole(array))

    def emit(self, nodes: Nodes, name: str, like: Array) -> str:
        """Turn the axes."""
        return nodes.add("Transpose", name, perm=self._whole(like))

    def _whole(self, like: Array) -> list[int]:
        if like.ndim != len(self.axes) + 1:
            raise StepFault(f"{len(self.axes)} axes", like.shape[1:])
        return [0, *(axis + 1 for axis in self.axes)]


def transpose(argument: Any) -> Step:
    """Read `transpose`: the axes in their new order, from 0, without the batch."""
    axes = wholes(argument, 0)
    if sorted(axes) != list(range(len(axes))):
        raise StepFault("each axis of an observation once, from 0, such as [2, 0, 1]", argument)
    return Transpose(axes)


def layout(argument: Any) -> Step:
    """Read `layout`: nchw or nhwc, of images after the step."""
    return Transpose(TO_LAYOUT[word(argument, tuple(TO_LAYOUT))])


@dataclass(frozen=True, slots=True)
class Reshape:
    """Give each observation another shape; without one, lay it out in a row."""

    shape: tuple[int, ...] | None

    def compute(self, array: Array) -> Array:
        """Lay the numbers out in the other shape."""
        return array.reshape(len(array), *self._checked(array))

    def emit(self, nodes: Nodes, name: str, like: Array) -> str:
        """Lay the numbers out in the other shape."""
        return nodes.reshape(name, self._checked(like))

    def _checked(self, like: Array) -> tuple[int, ...]:
        n = prod(like.shape[1:])
        if self.shape is None:
            return (n,)
        if prod(self.shape) != n:
            raise StepFault(f"a shape of {n} numbers, as {like.shape[1:]} has", list(self.shape))
        return self.shape


def reshape(argument: Any) -> Step:
    """Read `reshape`: the shape without the batch; an empty list for a single number."""
    return Reshape(() if argument == [] else wholes(argument, 1))


def flatten(argument: Any) -> Step:
    """Read `flatten`, which takes no argument."""
    nothing(argument)
    return Reshape(None)


@dataclass(frozen=True, slots=True)
class Stack:
    """Join the frames of a stack, the first axis, along an axis of a frame."""

    where: str

    def compute(self, array: Array) -> Array:
        """Join the frames."""
        order, shape = self._plan(array)
        return array.transpose(order).reshape(len(array), *shape)

    def emit(self, nodes: Nodes, name: str, like: Array) -> str:
        """Join the frames."""
        order, shape = self._plan(like)
        return nodes.reshape(nodes.add("Transpose", name, perm=order), shape)

    def _plan(self, like: Array) -> tuple[list[int], tuple[int, ...]]:
        """Order of the axes with the batch, and the shape afterwards without it."""
        frames, *frame = like.shape[1:] or (0,)
        if not frame:
            raise StepFault("a stack of frames, of 2 axes or more", like.shape[1:])
        as_it_is = list(range(like.ndim))
        if self.where == "flat":
            return as_it_is, (frames * prod(frame),)
        if self.where == "first":
            return as_it_is, (frames, *frame) if len(frame) == GREY else (frames * frame[0], *frame[1:])
        if len(frame) == GREY:  # the frames become the channels
            return [0, 2, 3, 1], (*frame, frames)
        return [0, *as_it_is[2:-1], 1, as_it_is[-1]], (*frame[:-1], frames * frame[-1])


def stack(argument: Any) -> Step:
    """Read `stack`: where the frames go, last, first or flat."""
    return Stack(word(argument, ("last", "first", "flat")))


@dataclass(frozen=True, slots=True)
class Take:
    """Keep some of the numbers of the last axis."""

    begin: int
    end: int

    def compute(self, array: Array) -> Array:
        """Keep the numbers."""
        self._check(array)
        return array[..., self.begin : self.end]

    def emit(self, nodes: Nodes, name: str, like: Array) -> str:
        """Keep the numbers."""
        self._check(like)
        begin, end, axis = (nodes.whole(number) for number in (self.begin, self.end, like.ndim - 1))
        return nodes.add("Slice", name, begin, end, axis)

    def _check(self, like: Array) -> None:
        if like.ndim == 1 or like.shape[-1] < self.end:
            raise StepFault(f"a part of the last axis of {like.shape[1:]}", [self.begin, self.end])


def take(argument: Any) -> Step:
    """Read `take`: [from, to], the latter left out."""
    begin, end = wholes(pair(argument, "[from, to]"), 0)
    if begin >= end:
        raise StepFault("[from, to] with from below to", argument)
    return Take(begin, end)
