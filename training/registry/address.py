"""Where runs and versions are kept; known without mlflow, which takes seconds to import."""

import os
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from polserve.protos.shared.hosts import without_passwords
from polserve.protos.shared.packages import missing_package
from polserve.training.errors import RegistryError
from polserve.training.registry.probe import wait_for_server

VARIABLE = "MLFLOW_TRACKING_URI"
DEFAULT_TRACKING_URI = "sqlite:///mlflow.db"
"""In the working directory."""
SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")
"""Of tracking URIs."""


def has_store() -> bool:
    """Whether there is a store to read: MLFLOW_TRACKING_URI is set, or the default one exists already."""
    return bool(os.environ.get(VARIABLE)) or Path(DEFAULT_TRACKING_URI.removeprefix("sqlite:///")).exists()


def is_server(uri: str) -> bool:
    """Whether a tracking URI is a server's, and no database's."""
    return uri.startswith(("http://", "https://"))


def reach(*, is_created: bool = True) -> str:
    """The tracking URI; where it is a server's, one that answers.

    Args:
        is_created: the default store may be made where it does not exist.

    Raises:
        RegistryError: there is no store and none is to be made, its address is none, or no MLflow server answers there.
    """
    if not is_created and not has_store():
        raise RegistryError(
            f"{VARIABLE} is not set and there is no mlflow.db here; set it to the address of the MLflow server"
        )
    uri = os.environ.get(VARIABLE) or DEFAULT_TRACKING_URI
    _check_scheme(uri)
    if is_server(uri):
        _check_host(uri)
        wait_for_server(uri, without_passwords(uri).rstrip("/"))
    elif _is_new(uri):
        _check_folder(uri, Path(uri.removeprefix("sqlite:///")).parent)
    else:
        _check_database(uri)
    return uri


def _check_scheme(uri: str) -> None:
    scheme, _, rest = uri.partition(":")
    if scheme.split("+", 1)[0] in SCHEMES:
        return
    expected = f"{VARIABLE}: expected http://, https:// or a database URI"
    if rest.startswith("/"):
        raise RegistryError(f"{expected}, got the scheme {scheme!r}; run `mlflow server` and give its address")
    raise RegistryError(f"{expected}, got {uri!r}, which has no scheme; http://{uri} may be what is meant")


def _check_database(uri: str) -> None:
    """Raise RegistryError where a database does not answer, which MLflow would try for minutes, or has no driver."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    try:
        engine = create_engine(uri)
        engine.connect().close()
        engine.dispose()
    except DBAPIError as error:
        reason = str(error.orig).strip().splitlines()[0]
        raise RegistryError(f"{VARIABLE}: the database {without_passwords(uri)} does not answer ({reason})") from error
    except ModuleNotFoundError as error:
        raise RegistryError(f"{VARIABLE}: {missing_package(error)}") from error
    except SQLAlchemyError as error:
        expected = "expected a database URI such as sqlite:///mlflow.db"
        raise RegistryError(f"{VARIABLE}: {expected}, got {without_passwords(uri)!r} ({error})") from error


def _is_new(uri: str) -> bool:
    """Whether it is the address of a file that is still to be made."""
    return uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists()


def _check_folder(uri: str, folder: Path) -> None:
    if not folder.is_dir():
        raise RegistryError(f"{VARIABLE}: expected a database in a folder that exists, got {uri}; make {folder}")
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise RegistryError(f"{VARIABLE}: {uri} cannot be made ({error.strerror}); give another folder") from error


def _check_host(uri: str) -> None:
    try:
        address = urlsplit(uri)
        _ = address.port
    except ValueError as error:
        raise RegistryError(
            f"{VARIABLE}: expected http://HOST:PORT, got {without_passwords(uri)!r} ({error})"
        ) from error
    if not address.hostname:
        raise RegistryError(f"{VARIABLE}: expected http://HOST:PORT, got {uri!r}, which names no host")
