"""Serve trained reinforcement-learning policies over gRPC, and train them."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polserve.serving.client import (
        Action,
        ActionSpace,
        Allocator,
        AsyncEpisode,
        AsyncPolicyClient,
        BudgetDay,
        ClientError,
        Episode,
        EvaluationSummary,
        InvalidArgument,
        LivePolicy,
        LiveVersion,
        ObservationSpace,
        PolicyClient,
        Split,
    )

__all__ = [
    "Action",
    "ActionSpace",
    "Allocator",
    "AsyncEpisode",
    "AsyncPolicyClient",
    "BudgetDay",
    "ClientError",
    "Episode",
    "EvaluationSummary",
    "InvalidArgument",
    "LivePolicy",
    "LiveVersion",
    "ObservationSpace",
    "PolicyClient",
    "Split",
]

_HOMES = dict.fromkeys(__all__, "polserve.serving.client")
"""The module of each public name, imported when the name is first used."""

if not Path(__file__).with_name("serving").is_dir():  # a checkout that lost its links
    __path__.append(str(Path(__file__).parents[1]))


if not TYPE_CHECKING:  # so that a type checker knows the public names, and no others

    def __getattr__(name: str) -> object:
        """The public name, from its module."""
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value: object = getattr(import_module(home), name)
        globals()[name] = value  # the next use finds it at once
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
