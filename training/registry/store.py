"""Where runs and versions are kept."""

import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from training.errors import RegistryError

DEFAULT_TRACKING_URI = "sqlite:///mlflow.db"
"""In the working directory."""
SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")
"""Of tracking URIs."""
OF_A_SERVER = (
    "an MLflow server keeps the artifacts of this store; set MLFLOW_TRACKING_URI to the server's address, such as "
    "http://127.0.0.1:5000"
)
"""Why a store cannot be used, though its database can be read."""

START_TIMEOUT_S = 60.0
"""For a server that was just started to listen."""


def has_store() -> bool:
    """Whether there is a store to read: MLFLOW_TRACKING_URI is set, or the default one exists already."""
    return bool(os.environ.get("MLFLOW_TRACKING_URI")) or Path(DEFAULT_TRACKING_URI.removeprefix("sqlite:///")).exists()


def connect(*, is_created: bool = True) -> MlflowClient:
    """A client of MLFLOW_TRACKING_URI, or of the default store where it is not set.

    Args:
        is_created: make the default store where it does not exist.

    Raises:
        RegistryError: there is no store and none is to be made, its address is none, or no server answers for a minute.
    """
    if not is_created and not has_store():
        raise RegistryError(
            "MLFLOW_TRACKING_URI is not set and there is no mlflow.db here; set it to the address of the MLflow server"
        )
    uri = os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_TRACKING_URI
    if (scheme := uri.split(":", 1)[0].split("+", 1)[0]) not in SCHEMES:
        raise RegistryError(
            f"MLFLOW_TRACKING_URI: expected http://, https:// or a database URI, got the scheme {scheme!r}; "
            "run `mlflow server` and give its address"
        )
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if is_server(uri):
        _wait_for_server(uri)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    with registry_errors():
        return MlflowClient(uri)


def is_server(uri: str) -> bool:
    """Whether a tracking URI is a server's, and no database's."""
    return uri.startswith("http")


def _wait_for_server(uri: str) -> None:
    """Return once somebody listens at `uri`: a server that was just started takes half a minute on a busy machine."""
    address = urlsplit(uri)
    try:
        port = address.port or (443 if address.scheme == "https" else 80)
    except ValueError as error:
        raise RegistryError(f"MLFLOW_TRACKING_URI: expected http://HOST:PORT, got another port ({error})") from error
    until = time.monotonic() + START_TIMEOUT_S
    is_told = False
    while True:
        try:
            socket.create_connection((address.hostname or "", port), timeout=5).close()
        except OSError as error:
            if time.monotonic() > until:
                raise RegistryError(
                    f"no MLflow server answers at {address.scheme}://{address.hostname}:{port} ({error}); "
                    "start one with `mlflow server`, or correct MLFLOW_TRACKING_URI"
                ) from error
            if not is_told:
                print(f"waiting for the MLflow server at {address.hostname}:{port}", file=sys.stderr, flush=True)  # noqa: T201
                is_told = True
            time.sleep(0.5)
        else:
            return


@contextmanager
def registry_errors() -> Iterator[None]:
    """What MLflow raises becomes a RegistryError of one line that names the store."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:  # the latter two where it is on this machine
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if "mlflow-artifacts URI was supplied" in reason:
            reason = OF_A_SERVER
        raise RegistryError(f"the MLflow store {mlflow.get_tracking_uri()}: {reason}") from error
