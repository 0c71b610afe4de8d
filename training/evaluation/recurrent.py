"""Recurrent policies at play: what they remember is carried from step to step, and forgotten where episodes begin."""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, runtime_checkable

from numpy.typing import NDArray

ActRemembering: TypeAlias = Callable[[NDArray[Any], Any], tuple[NDArray[Any], Any]]
"""From observations (n, *shape) and what was remembered of before, None at a start, to actions and what to remember."""


@runtime_checkable
class Remembers(Protocol):
    """Whoever chooses actions by more than the latest observations."""

    def begin_episodes(self) -> None:
        """Forget everything: the next observations begin episodes."""


class RecurrentPlayer:
    """A recurrent policy that plays episodes side by side, which begin together."""

    def __init__(self, act: ActRemembering) -> None:
        self._act = act
        self._remembered: Any = None

    def __call__(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Choose actions for the next observations (n, *shape) of the episodes."""
        actions, self._remembered = self._act(observations, self._remembered)
        return actions

    def begin_episodes(self) -> None:
        """Forget everything: the next observations begin episodes."""
        self._remembered = None


def begin_episodes(choose_actions: object) -> None:
    """Tell whoever chooses actions that episodes begin, where that is anything to it."""
    if isinstance(choose_actions, Remembers):
        choose_actions.begin_episodes()
