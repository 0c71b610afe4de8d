"""The client of the store of runs and versions."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from polserve.protos.shared.hosts import without_passwords
from polserve.protos.shared.packages import missing_package
from polserve.training.errors import RegistryError
from polserve.training.registry.address import DEFAULT_TRACKING_URI, VARIABLE, reach

OF_A_SERVER = (
    "an MLflow server keeps the artifacts of this store; set MLFLOW_TRACKING_URI to the server's address, such as "
    "http://127.0.0.1:5000"
)
"""Why a store cannot be used, though its database can be read."""


def connect(*, is_created: bool = True) -> MlflowClient:
    """A client of MLFLOW_TRACKING_URI, or of the default store where it is not set.

    Args:
        is_created: make the default store where it does not exist.

    Raises:
        RegistryError: there is no store and none is to be made, its address is none, or no server answers for a minute.
    """
    uri = reach(is_created=is_created)
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
    except ModuleNotFoundError as error:
        name = without_passwords(os.environ.get(VARIABLE) or DEFAULT_TRACKING_URI)
        raise RegistryError(f"the MLflow store {name}: {missing_package(error)}") from error
    except (MlflowException, SQLAlchemyError, OSError) as error:  # the latter two where it is on this machine
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if "mlflow-artifacts URI was supplied" in reason:
            reason = OF_A_SERVER
        raise RegistryError(without_passwords(f"the MLflow store {mlflow.get_tracking_uri()}: {reason}")) from error
