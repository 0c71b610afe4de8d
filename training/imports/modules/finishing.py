"""What a module gives, by name, and what makes actions of it."""

from typing import Any, Literal, TypeAlias

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from torch import Tensor, nn

from polserve.training.environments.spaces import float32_bounds, short
from polserve.training.errors import ImportRefused
from polserve.training.imports.layers import ByBits, ByLogits, ByParts, ByValue, Clipped, Rescaled

Gives: TypeAlias = Literal["actions", "values", "logits", "means", "squashed"]
"""Kind of numbers that a module gives.

Actions as the environment takes them; a value or a logit for each discrete action; continuous actions that are to be
cut off at their bounds, or from -1 to 1 and to be scaled to them.
"""
MATRIX = 2
"""Axes of what has a row of numbers for each observation."""


class AsGiven(nn.Module):
    """Actions as a module gives them, in the dtype and shape of the spec."""

    def __init__(self, shape: tuple[int, ...], *, is_whole: bool) -> None:
        super().__init__()
        self._shape = shape
        self._dtype = torch.int64 if is_whole else torch.float32

    def forward(self, given: Tensor) -> Tensor:
        """Actions (n, *shape)."""
        return given.to(self._dtype).reshape(-1, *self._shape)


class Started(nn.Module):
    """Discrete actions counted from their first number, which is not 0."""

    def __init__(self, choose: nn.Module, start: int) -> None:
        super().__init__()
        self.choose = choose
        self._start = start

    def forward(self, scores: Tensor) -> Any:
        """Actions, or actions and values, of scores (n, actions)."""
        answer = self.choose(scores)
        if isinstance(answer, tuple):
            return answer[0] + self._start, answer[1]
        return answer + self._start


def finish(given: Tensor, gives: Gives | None, space: gym.Space[Any]) -> nn.Module:
    """Find what makes actions of a space of what a module gives.

    Args:
        given: for two observations.
        gives: what it is; None for what its dtype and shape suggest.
        space: of the actions.

    Raises:
        ImportRefused: it makes no action of the space.
    """
    if isinstance(space, Box):
        return _continuous(given, gives or "actions", space)
    n, k = _sizes(space)
    is_whole = not given.is_floating_point()
    gives = gives or ("actions" if is_whole else "logits")
    if gives == "actions":
        if not is_whole or given.numel() != k * len(given):
            raise _refused(f"{k} whole numbers for each observation" if k > 1 else "a whole number for each", given)
        return AsGiven(tuple(space.shape or ()), is_whole=True)
    if gives == "values" and not isinstance(space, Discrete):
        raise ImportRefused(f"gives: expected actions or logits for {short(space)}, got 'values'")
    if gives in {"means", "squashed"}:
        raise ImportRefused(f"gives: expected actions, values or logits for {short(space)}, got {gives!r}")
    if is_whole or given.shape[1:] != (n,):
        raise _refused(f"{n} scores for each observation, as {short(space)} takes", given)
    return _choosing(gives, space)


def _sizes(space: gym.Space[Any]) -> tuple[int, int]:
    """Count the scores that choose an action, and the numbers of one."""
    if isinstance(space, Discrete):
        return int(space.n), 1
    if isinstance(space, MultiDiscrete) and space.nvec.ndim == 1:
        return int(space.nvec.sum()), len(space.nvec)
    if isinstance(space, MultiBinary) and len(space.shape) == 1:
        return space.shape[0], space.shape[0]
    raise ImportRefused(
        f"action_space: expected Box, Discrete, or MultiDiscrete or MultiBinary of one axis, got {short(space)}"
    )


def _choosing(gives: str, space: gym.Space[Any]) -> nn.Module:
    if isinstance(space, MultiBinary):
        return ByBits()
    if isinstance(space, MultiDiscrete):
        if np.any(space.start):
            raise ImportRefused(f"action_space: expected a MultiDiscrete that starts at 0, got {short(space)}")
        return ByParts(space.nvec.tolist())
    choose: nn.Module = ByValue() if gives == "values" else ByLogits()
    start = int(space.start) if isinstance(space, Discrete) else 0
    return Started(choose, start) if start else choose


def _continuous(given: Tensor, gives: str, space: Box) -> nn.Module:
    if gives in {"values", "logits"}:
        raise ImportRefused(f"gives: expected actions, means or squashed for {short(space)}, got {gives!r}")
    k = int(np.prod(space.shape))
    if not given.is_floating_point() or given.numel() != k * len(given):
        raise _refused(f"{k} floats for each observation, as {short(space)} takes", given)
    as_given = AsGiven(space.shape, is_whole=False)
    if gives == "actions":
        return as_given
    low, high = float32_bounds(space)
    return nn.Sequential(as_given, Clipped(low, high) if gives == "means" else Rescaled(low, high))


def _refused(expected: str, given: Tensor) -> ImportRefused:
    got = f"{str(given.dtype).removeprefix('torch.')} {tuple(given.shape[1:])}"
    return ImportRefused(f"the module: expected {expected}, got {got}; say what it gives by gives=...")
