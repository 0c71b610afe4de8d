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
from polserve.training.imports.remembering import States, zero_states
from polserve.training.imports.within import check_within
from polserve.training.versions.export import NO_STATES, answers

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
    states: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Shape of each state of a recurrent module, for one observation."""


class Acting(nn.Module):
    """A module, and what makes actions of what it gives."""

    def __init__(self, network: nn.Module, finishing: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.finishing = finishing

    def forward(self, observations: Tensor) -> Any:
        """Actions, or actions and values, of observations (n, *shape); float64 ones come to the module as float32."""
        return self.finished(self.given(observations)[0])

    def finished(self, given: Any) -> Any:
        """Return actions, or actions and values, of what the module gave."""
        if isinstance(given, tuple):  # actions and values
            return self.finishing(given[0]), given[1].float()
        return self.finishing(given)

    def given(self, observations: Tensor, *states: Tensor) -> tuple[Any, tuple[Tensor, ...]]:
        """Return what the module gives, and its next states."""
        asked = observations.float() if observations.dtype == torch.float64 else observations
        return split(self.network(asked, *states), len(states))


class RecurrentActing(Acting):
    """A recurrent module, and what makes actions of what it gives."""

    def forward(self, observations: Tensor, *states: Tensor) -> Any:
        """Actions, values where there are any, and the next states, of observations and states (n, *shape)."""
        given, following = self.given(observations, *states)
        acted = self.finished(given)
        return (*acted, *following) if isinstance(acted, tuple) else (acted, *following)


def split(given: Any, n_states: int) -> tuple[Any, tuple[Tensor, ...]]:
    """Split what a module gives into what makes its actions, and its next states."""
    if not n_states:
        return given, ()
    first, following = given[:-n_states], given[-n_states:]
    return (first[0] if len(first) == 1 else tuple(first)), tuple(following)


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
    observations, states = drawn(observed, TRIED), zero_states(options.states, TRIED)
    finishing = finish(_tried(network, observations[:2], options, actions), options.gives, actions)
    graph = (RecurrentActing if options.states else Acting)(network, finishing).eval()
    name = type(module).__qualname__
    _check_is_repeatable(name, graph, observations, states)
    has_values = "values" in answers(graph, observations[:2], zero_states(options.states, 2))
    is_scored = isinstance(actions, Discrete) and (has_values or not isinstance(finishing, AsGiven))
    remedy = "say what it gives by gives=..., such as means, which are cut off, or squashed, which are scaled"

    def original(asked: NDArray[Any], states: Mapping[str, NDArray[Any]] = NO_STATES) -> NDArray[Any]:
        acted = answers(graph, asked, states)["action"]
        check_within(name, actions, acted, remedy)
        return acted

    original(observations, states)
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
        states=options.states,
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


def _tried(network: nn.Module, two: NDArray[Any], options: ModuleOptions, actions: gym.Space[Any]) -> Tensor:
    """Ask the module about two observations; return what makes its actions."""
    given_to, gives = torch.from_numpy(two), options.gives
    states = zero_states(options.states, 2)
    try:
        with torch.no_grad():
            asked = given_to.float() if given_to.dtype == torch.float64 else given_to
            given = network(asked, *map(torch.from_numpy, states.values()))
    except Exception as error:  # whatever a module of the user's own raises
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ImportRefused(
            f"{type(network).__qualname__}: expected a module that takes observations {two.dtype} {two.shape[1:]} in "
            f"batches, got {reason}; wrap it in one that does"
        ) from error
    given = _without_states(network, given, states)
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


def _without_states(network: nn.Module, given: Any, states: States) -> Any:
    """Return what a module gives but its next states; raises ImportRefused where it does not give those."""
    if not states:
        return given
    rest, following = split(given, len(states)) if isinstance(given, tuple) else (given, ())
    shapes = [tuple(state.shape) if isinstance(state, Tensor) else type(state).__name__ for state in following]
    wanted = [array.shape for array in states.values()]
    if shapes != wanted or not all(state.dtype == torch.float32 for state in following):
        raise ImportRefused(
            f"{type(network).__qualname__}: expected the next states {', '.join(states)} last, as float32 "
            f"{', '.join(map(str, wanted))}, got {', '.join(map(str, shapes)) or 'none'}; name each by states=..., "
            "with its shape for one observation"
        )
    return rest


def _require_values(values: Any, n: int) -> None:
    if not isinstance(values, Tensor) or values.shape[1:] != (n,):
        got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ImportRefused(f"the module: expected values (n, {n}) beside actions, got {got}")


def _check_is_repeatable(name: str, graph: nn.Module, observations: NDArray[Any], states: States) -> None:
    """Raise ImportRefused where the module draws at random."""
    first, second = (answers(graph, observations, states) for _ in range(2))
    if any(not np.array_equal(first[key], second[key]) for key in first):
        raise ImportRefused(
            f"{name}: expected a deterministic module, got other answers to the same observations: give the mean, or "
            "the most probable action, in place of a draw"
        )


def _preferences(graph: Acting) -> Any:
    """Return what the arg-max is taken of: the values, or the scores that the module gives."""

    @torch.no_grad()
    def preferences(observations: NDArray[Any], states: Mapping[str, NDArray[Any]] = NO_STATES) -> NDArray[Any]:
        given, _ = graph.given(torch.from_numpy(observations), *map(torch.from_numpy, states.values()))
        return np.asarray((given[1] if isinstance(given, tuple) else given).numpy())

    return preferences
