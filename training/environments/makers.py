"""Callables that make environments, and the ids that these get."""

import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

import gymnasium as gym

from polserve.training.errors import InvalidOption

EnvMaker: TypeAlias = Callable[..., gym.Env[Any, Any]]

MAKER_ID = "environment"
"""Id of an environment whose maker has no name of its own, and does not make one."""


def require_maker(given: object, option: str, expected: str) -> None:
    """Raise InvalidOption where `given` does not make environments; `expected` says what the option takes."""
    if isinstance(given, gym.Env):
        raise InvalidOption(
            f"{option}: expected what makes the environment, such as its class, since several are made; got an "
            f"environment, {type(given).__name__}"
        )
    if not callable(given):
        raise InvalidOption(f"{option}: expected {expected}, got {given!r}")


def has_own_name(maker: EnvMaker) -> bool:
    """Whether a callable has a name that an environment can be called by, as a class or a function has."""
    return bool(_own_name(maker))


def _own_name(maker: EnvMaker) -> str:
    named = maker.func if isinstance(maker, partial) else maker
    name = str(getattr(named, "__name__", ""))
    return name if name.isidentifier() else ""


def maker_name(maker: EnvMaker, kwargs: Mapping[str, Any] | None = None) -> str:
    """Id for an environment that is made by a callable: the callable's name, or where it has none, the class's.

    For the latter the environment is made once, with its keyword arguments.
    """
    if own := _own_name(maker):
        return own
    with contextlib.suppress(Exception):  # whatever it raises is told where the environment is made to be looked at
        made = maker(**(kwargs or {}))
        made.close()
        return type(made.unwrapped).__name__
    return MAKER_ID
