"""From a torch module in hand to an imported policy."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from torch import Tensor, nn

from polserve.training.environments.layouts import flat_box
from polserve.training.environments.spaces import short
from polserve.training.errors import ImportRefused
from polserve.training.imports.imported import ImportedPolicy, Source
from polserve.training.imports.modules.finishing import AsGiven, Gives, finish
from polserve.training.imports.observations import drawn
from polserve.training.imports.places import Place
from polserve.training.imports.within import check_within
from polserve.training.versions.export import answers

TRIED = 64
"""Observations that the module is tried on before it is compared with the graph."""


@dataclass(frozen=True, slots=True)
class ModuleOptions:
    """What a person tells of a module."""

    gives: Gives | None = None
    """What it gives; None for what its dtype and shape suggest."""
    algorithm: str = "torch"
    """What trained it, as the spec of the version names it."""
    observation_space: gym.Space[Any] | None = None
    """Space of its observations, where no environment tells it."""
    action_space: gym.Space[Any] | None = None
    """Space of its actions, likewise."""
    frames: int = 0
    """Length of the frame stack, the first axis of its observations; 0 for none."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """Settings of its training, by name."""


class Acting(nn.Module):
    """A module, and what makes actions of what it gives."""

    def __init__(self, network: nn.Module, finishing: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.finishing = finishing

    def forward(self, observations: Tensor) -> Any:
        """Actions, or actions and values, of observations (n, *shape); float64 ones come to the module as float32."""
        given = self.network(observations.float() if observations.dtype == torch.float64 else observations)
        if isinstance(given, tuple):  # actions and values
            return self.finishing(given[0]), given[1].float()
        return self.finishing(given)


def read_module(module: nn.Module, options: ModuleOptions, place: Place) -> ImportedPolicy:
    """Make an imported policy of a module for the environment that was named.

    Raises:
        ImportRefused: the module does not take its observations, gives no such actions, or draws at random.
    """
    observed, emitted = _observation_space(options, place)
    actions = options.action_space or (place.facts.action_space if place.facts else None)
    if actions is None:
        raise ImportRefused(f"action_space: expected one, since {place.missing}; got none")
    network = copy.deepcopy(module).cpu().eval()
    observations = drawn(observed, TRIED)
    finishing = finish(_tried(network, observations[:2], options.gives, actions), options.gives, actions)
    graph = Acting(network, finishing).eval()
    name = type(module).__qualname__
    _check_is_repeatable(name, graph, observations)
    has_values = "values" in answers(graph, observations[:2])
    is_scored = isinstance(actions, Discrete) and (has_values or not isinstance(finishing, AsGiven))
    remedy = "say what it gives by gives=..., such as means, which are cut off, or squashed, which are scaled"

    def original(asked: NDArray[Any]) -> NDArray[Any]:
        acted = answers(graph, asked)["action"]
        check_within(name, actions, acted, remedy)
        return acted

    original(observations)
    return ImportedPolicy(
        algorithm=options.algorithm,
        graph=graph,
        observation_space=observed,
        action_space=actions,
        source=Source(f"torch {torch.__version__.partition('+')[0]}", name, "", options.algorithm),
        original=original,
        original_name="the module in torch",
        preferences=_preferences(graph) if is_scored else None,
        emitted_space=emitted,
        frames=options.frames,
        settings=options.settings,
    )


def _observation_space(options: ModuleOptions, place: Place) -> tuple[Box, gym.Space[Any] | None]:
    """Space of what the module takes, the stack included, and what it is laid out from, where that is no Box."""
    stated = options.observation_space
    if place.facts is not None:
        space, emitted = place.facts.observation_space, place.facts.emitted_space
    elif stated is None:
        raise ImportRefused(f"observation_space: expected one, since {place.missing}; got none")
    else:
        flat = flat_box(stated)
        if flat is None:
            raise ImportRefused(f"observation_space: expected one that can be laid out in numbers, got {short(stated)}")
        space, emitted = flat, None if isinstance(stated, Box) else stated
    if not options.frames:
        return space, emitted
    low, high = (np.repeat(bound[np.newaxis], options.frames, axis=0) for bound in (space.low, space.high))
    return Box(low, high, dtype=space.dtype.type), emitted


def _tried(network: nn.Module, two: NDArray[Any], gives: str | None, actions: gym.Space[Any]) -> Tensor:
    """Ask the module about two observations; return what makes its actions."""
    given_to = torch.from_numpy(two)
    try:
        with torch.no_grad():
            given = network(given_to.float() if given_to.dtype == torch.float64 else given_to)
    except Exception as error:  # whatever a module of the user's own raises
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ImportRefused(
            f"{type(network).__qualname__}: expected a module that takes observations {two.dtype} {two.shape[1:]} in "
            f"batches, got {reason}; wrap it in one that does"
        ) from error
    if isinstance(given, tuple) and len(given) == 2 and gives in {None, "actions"} and isinstance(actions, Discrete):  # noqa: PLR2004
        _require_values(given[1], int(actions.n))
        given = given[0]
    if not isinstance(given, Tensor) or given.ndim == 0 or len(given) != len(two):
        got = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
        raise ImportRefused(
            f"{type(network).__qualname__}: expected a tensor with a row for each of {len(two)} observations, or "
            f"discrete actions and their values, got {got}; wrap it in a module that gives one"
        )
    return given


def _require_values(values: Any, n: int) -> None:
    if not isinstance(values, Tensor) or values.shape[1:] != (n,):
        got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ImportRefused(f"the module: expected values (n, {n}) beside actions, got {got}")


def _check_is_repeatable(name: str, graph: nn.Module, observations: NDArray[Any]) -> None:
    """Raise ImportRefused where the module draws at random."""
    first, second = (answers(graph, observations) for _ in range(2))
    if any(not np.array_equal(first[key], second[key]) for key in first):
        raise ImportRefused(
            f"{name}: expected a deterministic module, got other answers to the same observations: give the mean, or "
            "the most probable action, in place of a draw"
        )


def _preferences(graph: Acting) -> Any:
    """Return what the arg-max is taken of: the values, or the scores that the module gives."""

    @torch.no_grad()
    def preferences(observations: NDArray[Any]) -> NDArray[Any]:
        asked = torch.from_numpy(observations)
        given = graph.network(asked.float() if asked.dtype == torch.float64 else asked)
        return np.asarray((given[1] if isinstance(given, tuple) else given).numpy())

    return preferences
