"""An MLflow run, written as training goes."""

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from mlflow import MlflowClient
from mlflow.entities import Experiment, LifecycleStage, LoggedModelInput, Metric, Param, RunStatus
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH

from polserve.protos.shared.hosts import without_passwords
from polserve.training.errors import RegistryError
from polserve.training.registry.address import is_server
from polserve.training.registry.store import OF_A_SERVER, registry_errors

RESUMED = "resumed."
"""Before the names of tags that say what a run went on with, where that is not what it began with."""
FLUSH_INTERVAL_S = 2.0
"""The time between two sendings of metrics: one request each would cost more than a small update."""


class TrackedRun:
    """A run of an experiment; as a context manager it ends as finished, failed or, when interrupted, killed."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        """Go on with the run that `start` or an earlier process began."""
        self.run_id = run_id
        self._client = client
        self._pending: list[Metric] = []
        self._flushed = time.monotonic()
        self._status = "FINISHED"
        with registry_errors(client):
            client.update_run(run_id, status="RUNNING")

    @classmethod
    def start(cls, client: MlflowClient, experiment: str, name: str, tags: Mapping[str, str]) -> Self:
        """Begin a run.

        Raises:
            RegistryError: it cannot be recorded, or its artifacts could not.
        """
        with registry_errors(client):
            found = _experiment(client, experiment)
            if found.artifact_location.startswith("mlflow-artifacts:") and not is_server(client.tracking_uri):
                raise RegistryError(f"the MLflow store {without_passwords(client.tracking_uri)}: {OF_A_SERVER}")
            run = client.create_run(found.experiment_id, run_name=name, tags=dict(tags))
        return cls(client, run.info.run_id)

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record hyper-parameters."""
        with registry_errors(self._client):
            self._client.log_batch(self.run_id, params=[Param(key, str(value)) for key, value in params.items()])

    def tag_changes(self, facts: Mapping[str, object]) -> None:
        """Tag a run that goes on with each of the `facts` that is another now than the run's parameter, tag or change.

        MLflow keeps a parameter as it was first recorded; the tag `resumed.steps` has what --steps is since.
        """
        with registry_errors(self._client):
            data = self._client.get_run(self.run_id).data
        known = {**data.params, **data.tags}
        known |= {name.removeprefix(RESUMED): value for name, value in data.tags.items() if name.startswith(RESUMED)}
        now = {name: str(value)[:MAX_PARAM_VAL_LENGTH] for name, value in facts.items()}  # as MLflow keeps them
        changed = {f"{RESUMED}{name}": value for name, value in now.items() if value != known.get(name, "")}
        tag_run(self._client, self.run_id, changed)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Record metrics at an environment step; they are sent in batches."""
        now = int(time.time() * 1000)
        self._pending += [Metric(key, value, now, step) for key, value in metrics.items()]
        if time.monotonic() - self._flushed > FLUSH_INTERVAL_S:
            self.flush()

    def flush(self) -> None:
        """Send the metrics that wait; those that cannot be sent wait on."""
        self._flushed = time.monotonic()
        if self._pending:
            with registry_errors(self._client):
                self._client.log_batch(self.run_id, metrics=self._pending)
            self._pending = []

    @property
    def is_waiting(self) -> bool:
        """Whether metrics wait to be sent."""
        return bool(self._pending)

    def log_files(self, folder: Path) -> None:
        """Record every file in `folder` as an artifact."""
        with registry_errors(self._client):
            self._client.log_artifacts(self.run_id, str(folder))

    def link_model(self, model_id: str) -> None:
        """Link the run to the logged model that it was about, so that MLflow shows them together."""
        with registry_errors(self._client):
            self._client.log_inputs(self.run_id, models=[LoggedModelInput(model_id)])

    def interrupt(self) -> None:
        """Let the run end as killed: it may be resumed."""
        self._status = "KILLED"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        is_stopped = kind is not None and issubclass(kind, KeyboardInterrupt)
        status = "KILLED" if is_stopped else self._status if kind is None else "FAILED"
        try:
            if kind is None:
                self.flush()
        finally:
            # What went wrong before is what the user must hear of.
            with (
                contextlib.nullcontext() if kind is None else contextlib.suppress(RegistryError),
                registry_errors(self._client),
            ):
                self._end(status)

    def _end(self, status: str) -> None:
        """End the run without MLflow's printing of its address, which only a variable of the whole process forbids."""
        store = self._client._tracking_client.store  # noqa: SLF001 - see above
        store.update_run_info(self.run_id, RunStatus.from_string(status), int(time.time() * 1000), None)


def tag_run(client: MlflowClient, run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags of a run, whether it goes on or has ended."""
    with registry_errors(client):
        for name, value in tags.items():
            client.set_tag(run_id, name, value)


def _experiment(client: MlflowClient, name: str) -> Experiment:
    """Return the experiment of that name, made where there is none.

    Raises:
        RegistryError: it was deleted.
        MlflowException: MLflow's own.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            client.create_experiment(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # made by another process just now
                raise
        found = client.get_experiment_by_name(name)
    if found.lifecycle_stage != LifecycleStage.ACTIVE:
        raise RegistryError(f"the MLflow experiment {name!r} was deleted; restore it, or delete it for good")
    return found
