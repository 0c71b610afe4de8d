"""Callables that make environments, and the ids that these get."""

import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

import gymnasium as gym

EnvMaker: TypeAlias = Callable[..., gym.Env[Any, Any]]

MAKER_ID = "environment"
"""Id of an environment whose maker has no name of its own, and does not make one."""


def maker_name(maker: EnvMaker, kwargs: Mapping[str, Any] | None = None) -> str:
    """Id for an environment that is made by a callable: the callable's name, or where it has none, the class's.

    For the latter the environment is made once, with its keyword arguments.
    """
    named = maker.func if isinstance(maker, partial) else maker
    name = getattr(named, "__name__", "")
    if name.isidentifier():
        return str(name)
    with contextlib.suppress(Exception):  # whatever it raises is told where the environment is made to be looked at
        made = maker(**(kwargs or {}))
        made.close()
        return type(made.unwrapped).__name__
    return MAKER_ID
