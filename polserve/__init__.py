"""Serve trained reinforcement-learning policies over gRPC and HTTP, and train them."""

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
        AsyncEpisodes,
        AsyncPolicyClient,
        BudgetDay,
        ClientError,
        Credentials,
        EndedEpisode,
        Episode,
        Episodes,
        EvaluationSummary,
        InvalidArgument,
        LivePolicy,
        LiveVersion,
        ObservationPart,
        ObservationSpace,
        PolicyClient,
        Split,
        request_id,
    )
    from polserve.training.errors import TrainingError
    from polserve.training.evaluate import evaluate
    from polserve.training.evaluation.evaluation import Evaluation
    from polserve.training.export import export
    from polserve.training.imports.publishing import ImportedVersion
    from polserve.training.promotion.decision import Decision
    from polserve.training.promotion.promote import promote
    from polserve.training.promotion.rollback import rollback
    from polserve.training.registry.aliases import AliasMove
    from polserve.training.train import TrainedVersion, train

__all__ = [
    "Action",
    "ActionSpace",
    "AliasMove",
    "Allocator",
    "AsyncEpisode",
    "AsyncEpisodes",
    "AsyncPolicyClient",
    "BudgetDay",
    "ClientError",
    "Credentials",
    "Decision",
    "EndedEpisode",
    "Episode",
    "Episodes",
    "Evaluation",
    "EvaluationSummary",
    "ImportedVersion",
    "InvalidArgument",
    "LivePolicy",
    "LiveVersion",
    "LoadedPolicy",
    "ObservationPart",
    "ObservationSpace",
    "PolicyClient",
    "Split",
    "TrainedVersion",
    "TrainingError",
    "evaluate",
    "export",
    "load",
    "promote",
    "request_id",
    "rollback",
    "testing",
    "train",
]

_HOMES = {
    **dict.fromkeys(__all__, "polserve.serving.client"),
    **dict.fromkeys(("LoadedPolicy", "load"), "polserve.loading"),
    "testing": "polserve.testing",
    "TrainingError": "polserve.training.errors",
    "evaluate": "polserve.training.evaluate",
    "Evaluation": "polserve.training.evaluation.evaluation",
    "export": "polserve.training.export",
    "ImportedVersion": "polserve.training.imports.publishing",
    "Decision": "polserve.training.promotion.decision",
    "promote": "polserve.training.promotion.promote",
    "rollback": "polserve.training.promotion.rollback",
    "AliasMove": "polserve.training.registry.aliases",
    **dict.fromkeys(("TrainedVersion", "train"), "polserve.training.train"),
}
"""Module of each public name (of `testing`, the module itself), imported when the name is first used."""

if not Path(__file__).with_name("serving").is_dir():  # a checkout that lost its links
    __path__.append(str(Path(__file__).parents[1]))


if not TYPE_CHECKING:  # so that a type checker knows the public names, and no others

    def __getattr__(name: str) -> object:
        """Return the public name, from its module; where that cannot be imported, say what is in the way."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            module = import_module(_HOMES[name])
            value: object = module if name == "testing" else getattr(module, name)
        except (ImportError, AttributeError) as error:
            reason = import_module("polserve.protos.shared.imports").why_import_failed(error)
            if reason is None:
                raise
            raise ImportError(reason) from error
        globals()[name] = value  # the next use finds it at once
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
