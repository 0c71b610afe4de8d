"""Serve trained reinforcement-learning policies over gRPC, and train them."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polserve import testing
    from polserve.loading import LoadedPolicy, load
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
    "LoadedPolicy",
    "ObservationSpace",
    "PolicyClient",
    "Split",
    "load",
    "testing",
]

_HOMES = dict.fromkeys(__all__, "polserve.serving.client") | dict.fromkeys(("LoadedPolicy", "load"), "polserve.loading")
"""The module of each public name but `testing`, which is one; imported when the name is first used."""

if not Path(__file__).with_name("serving").is_dir():  # a checkout that lost its links
    __path__.append(str(Path(__file__).parents[1]))


if not TYPE_CHECKING:  # so that a type checker knows the public names, and no others

    def __getattr__(name: str) -> object:
        """The public name, from its module."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        is_module = name == "testing"
        value: object = import_module("polserve.testing") if is_module else getattr(import_module(_HOMES[name]), name)
        globals()[name] = value  # the next use finds it at once
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
