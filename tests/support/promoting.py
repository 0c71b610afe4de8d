"""`polserve promote` in this process, and what it left in the registry."""

import json
from dataclasses import dataclass
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from typer.testing import CliRunner

from polserve.protos.shared.alias_history import HISTORY_TAG, Move, parse_history
from polserve.protos.shared.names import CHAMPION
from polserve.protos.shared.promotions import PROMOTIONS_EXPERIMENT
from polserve.serving.cli import build

FEW = ("--episodes", "30", "--processes", "1")


@dataclass(frozen=True)
class Answer:
    """What a command said, and how it ended."""

    text: str
    error: str
    exit_code: int

    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.text))


def command(*arguments: str) -> Answer:
    result = CliRunner().invoke(build(arguments), arguments, env={"COLUMNS": "200"})
    failed = result.exception if isinstance(result.exception, Exception) else None
    if failed is not None and not getattr(failed, "is_user_error", False):
        raise failed
    code = getattr(failed, "exit_code", 1) if failed else result.exit_code
    return Answer(result.stdout, str(failed or result.stderr), code)


def promote(policy: str, version: str, *options: str) -> Answer:
    return command("promote", f"{policy}/{version}", *FEW, *options)


def champion(store: MlflowClient, policy: str) -> str:
    return str(store.get_registered_model(policy).aliases.get(CHAMPION))


def history(store: MlflowClient, policy: str) -> list[Move]:
    return parse_history(store.get_registered_model(policy).tags[HISTORY_TAG])


def decision_run(store: MlflowClient, policy: str, version: str) -> Run:
    """The latest run that decided on a version; its tag names it."""
    run = store.get_run(store.get_model_version(policy, version).tags["polserve.promotion.run"])
    assert store.get_experiment(run.info.experiment_id).name == PROMOTIONS_EXPERIMENT
    return run
