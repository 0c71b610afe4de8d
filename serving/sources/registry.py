"""An MLflow registry as the follower needs it. The only module of `serving` that imports mlflow."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ParamSpec, TypeVar

from mlflow import MlflowClient, artifacts, set_tracking_uri
from mlflow.entities.model_registry import RegisteredModel
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_TIMEOUT
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from polserve.protos.shared.alias_history import HISTORY_TAG
from polserve.protos.shared.names import POLICY_TAG
from polserve.protos.shared.promotions import PROMOTIONS_EXPERIMENT
from polserve.serving.sources.bounded_calls import BoundedCalls
from polserve.serving.sources.fetching import Artifact

PAGE = 100
TIMEOUTS = 3
"""Time for a call, as a multiple of what MLflow allows for each part of one (MLFLOW_HTTP_REQUEST_TIMEOUT)."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Model:
    """A registered model, which holds the versions of one policy."""

    name: str
    aliases: dict[str, str]
    """Alias to version number."""
    history: str
    """The record of @champion's moves (`polserve.protos.shared.alias_history`)."""
    created: int
    """Milliseconds since 1970; tells it from one of the same name that was deleted."""


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A run of the experiment of promotions, which records a decision."""

    run_id: str
    at: str
    """The start of the run, in UTC, ISO 8601."""
    tags: dict[str, str]
    params: dict[str, str]


class Registry:
    """Registered models, their tags and their files; whatever a registry does wrong is raised as it comes.

    Each call ends within a bound, with the error Unanswered where it must.
    """

    def __init__(self, tracking_uri: str) -> None:
        set_tracking_uri(tracking_uri)
        self._client = MlflowClient()
        self._calls = BoundedCalls(TIMEOUTS * float(MLFLOW_HTTP_REQUEST_TIMEOUT.get()))

    @property
    def is_stuck(self) -> bool:
        """Whether so many calls hang that no other one is made, and only a new process helps."""
        return self._calls.are_too_many

    def model(self, name: str) -> Model | None:
        """Ask for the registered model of that name, in one request; None where there is none."""
        try:
            return _model(self._ask(f"registered model {name}", self._client.get_registered_model, name))
        except MlflowException as error:
            if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                return None
            raise

    def policies(self) -> Iterator[Model]:
        """Yield every registered model with the tag polserve.policy, in a request for each hundred models."""
        token = None
        while True:
            page = self._ask(
                "registered models", self._client.search_registered_models, max_results=PAGE, page_token=token
            )
            yield from (_model(model) for model in page if POLICY_TAG in model.tags)
            token = page.token
            if not token:
                return

    def tags(self, policy: str, version: str) -> dict[str, str]:
        """Ask for the tags of a version."""
        found = self._ask(f"tags of {policy}/{version}", self._client.get_model_version, policy, version)
        return dict(found.tags)

    def storage(self, policy: str, version: str) -> str:
        """Ask where a version's files are, for `files` and `download`."""
        uri = self._client.get_model_version_download_uri
        return str(self._ask(f"place of the files of {policy}/{version}", uri, policy, version))

    def files(self, storage: str) -> list[Artifact]:
        """List the files in a folder, those in folders below it left out."""
        found = self._ask(f"list of {storage}", artifacts.list_artifacts, artifact_uri=storage)
        return [Artifact(str(info.path), int(info.file_size or 0)) for info in found if not info.is_dir]

    def download(self, storage: str, target: Path) -> None:
        """Write the file at `storage` into the folder `target`."""

        def download() -> None:
            artifacts.download_artifacts(artifact_uri=storage, dst_path=str(target))

        self._calls.run(storage, download, lambda: _size_of(target))

    def tag_version(self, policy: str, version: str, key: str, value: str) -> None:
        """Set a tag of a version."""
        tag = self._client.set_model_version_tag
        self._ask(f"tag {key} of {policy}/{version}", tag, policy, version, key, value)

    def write_history(self, policy: str, text: str) -> None:
        """Replace the record of @champion's moves by `text`."""
        tag = self._client.set_registered_model_tag
        self._ask(f"tag {HISTORY_TAG} of {policy}", tag, policy, HISTORY_TAG, text)

    def version_tags(self, policy: str) -> dict[str, dict[str, str]]:
        """Ask for the tags of a policy's latest versions, by version, the latest first; at most a hundred."""
        versions = self._ask(
            f"versions of {policy}",
            self._client.search_model_versions,
            f"name = '{policy}'",
            max_results=PAGE,
            order_by=["version_number DESC"],
        )
        return {str(version.version): dict(version.tags) for version in versions}

    def decision_runs(self, policy: str, most: int) -> list[RecordedRun]:
        """Ask for the runs of the latest decisions on a policy, the latest first."""
        by_name = self._client.get_experiment_by_name
        experiment = self._ask(f"experiment {PROMOTIONS_EXPERIMENT}", by_name, PROMOTIONS_EXPERIMENT)
        if experiment is None:
            return []
        runs = self._ask(
            f"decisions on {policy}",
            self._client.search_runs,
            [experiment.experiment_id],
            f"tags.policy = '{policy}'",
            max_results=most,
            order_by=["attributes.start_time DESC"],
        )
        return [
            RecordedRun(run.info.run_id, _moment(run.info.start_time), dict(run.data.tags), dict(run.data.params))
            for run in runs
        ]

    def run_file(self, run_id: str, name: str, most_bytes: int) -> bytes:
        """Read a file of a run.

        Raises:
            LookupError: the run has no such file.
            ValueError: it is larger than `most_bytes`.
        """
        listed = self._ask(f"files of run {run_id}", self._client.list_artifacts, run_id)
        sizes = {info.path: int(info.file_size or 0) for info in listed}
        if name not in sizes:
            raise LookupError(f"there is no {name}")
        if sizes[name] > most_bytes:
            raise ValueError(f"{name} has {sizes[name]} bytes; expected at most {most_bytes}")
        with tempfile.TemporaryDirectory() as folder:

            def download() -> str:
                return str(artifacts.download_artifacts(run_id=run_id, artifact_path=name, dst_path=folder))

            return Path(self._calls.run(name, download, lambda: _size_of(Path(folder)))).read_bytes()

    def _ask(self, what: str, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make a call that brings little; raises Unanswered where it takes too long."""
        return self._calls.run(what, lambda: call(*args, **kwargs))


def _size_of(folder: Path) -> int:
    """Bytes of the files in a folder; of those that are just going away, none."""
    n = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            n += path.stat().st_size
    return n


def _moment(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _model(model: RegisteredModel) -> Model:
    aliases = {str(alias): str(version) for alias, version in model.aliases.items()}
    return Model(str(model.name), aliases, str(model.tags.get(HISTORY_TAG, "")), int(model.creation_timestamp or 0))
