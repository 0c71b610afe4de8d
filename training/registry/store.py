"""Where runs and versions are kept."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from training.errors import RegistryError

DEFAULT_TRACKING_URI = "sqlite:///mlflow.db"
"""Beside the working directory; a server on it shows the runs: `mlflow server --backend-store-uri sqlite:///mlflow.db`."""


def connect() -> MlflowClient:
    """A client of MLFLOW_TRACKING_URI, or of the default store where it is not set."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_TRACKING_URI
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    with registry_errors():
        return MlflowClient(uri)


@contextmanager
def registry_errors() -> Iterator[None]:
    """What MLflow raises becomes a RegistryError of one line that names the store."""
    try:
        yield
    except MlflowException as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RegistryError(f"the MLflow store {mlflow.get_tracking_uri()}: {reason}") from error
