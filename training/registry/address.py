"""The address of the store of runs and versions; known without mlflow, which takes seconds to import."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from polserve.protos.shared.hosts import without_passwords
from polserve.protos.shared.packages import missing_package
from polserve.training.errors import RegistryError
from polserve.training.registry.probe import say_on_stderr, wait_for_server

VARIABLE = "MLFLOW_TRACKING_URI"
DEFAULT_TRACKING_URI = "sqlite:///mlflow.db"
"""Address of a database in the working directory."""
SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")
"""Schemes of tracking URIs."""


@dataclass(frozen=True, slots=True)
class _Address:
    """A tracking URI, and what told it, for errors that name it."""

    uri: str
    told_by: str

    @property
    def shown(self) -> str:
        """The address as it may be shown."""
        return without_passwords(self.uri)

    def refusal(self, reason: str) -> RegistryError:
        """Build the error that the address will not do."""
        return RegistryError(f"{self.told_by}: {reason}")


def is_told(tracking_uri: str | None) -> bool:
    """Return whether a store was named, by the argument or by MLFLOW_TRACKING_URI."""
    return bool(tracking_uri or os.environ.get(VARIABLE))


def has_store(tracking_uri: str | None = None) -> bool:
    """Return whether there is a store to read: one is named, or the default one exists already."""
    return is_told(tracking_uri) or Path(DEFAULT_TRACKING_URI.removeprefix("sqlite:///")).exists()


def is_server(uri: str) -> bool:
    """Return whether a tracking URI is a server's, and no database's."""
    return uri.startswith(("http://", "https://"))


def reach(
    tracking_uri: str | None = None, *, is_created: bool = True, on_wait: Callable[[str], None] = say_on_stderr
) -> str:
    """Return the tracking URI of a store that can be used; where it is a server's, one that answers.

    Args:
        tracking_uri: the store; None for that of MLFLOW_TRACKING_URI, or the default one where it is not set.
        is_created: the default store may be made where it does not exist.
        on_wait: hears, in a line, that a server is waited for.

    Raises:
        RegistryError: there is no store and none is to be made, its address is none, or no MLflow server answers there.
    """
    if not is_created and not has_store(tracking_uri):
        raise RegistryError(
            f"{VARIABLE} is not set and there is no mlflow.db here; set it to the address of the MLflow server"
        )
    told_by = "tracking_uri" if tracking_uri else VARIABLE
    address = _Address(tracking_uri or os.environ.get(VARIABLE) or DEFAULT_TRACKING_URI, told_by)
    _check_scheme(address)
    if is_server(address.uri):
        _check_host(address)
        wait_for_server(address.uri, told_by, on_wait)
    elif _is_new(address.uri):
        _check_folder(address, Path(address.uri.removeprefix("sqlite:///")).parent)
    else:
        _check_database(address)
    return address.uri


def _check_scheme(address: _Address) -> None:
    scheme, _, rest = address.uri.partition(":")
    if scheme.split("+", 1)[0] in SCHEMES:
        return
    expected = "expected http://, https:// or a database URI"
    if rest.startswith("/"):
        raise address.refusal(f"{expected}, got the scheme {scheme!r}; run `mlflow server` and give its address")
    raise address.refusal(
        f"{expected}, got {address.uri!r}, which has no scheme; http://{address.uri} may be what is meant"
    )


def _check_database(address: _Address) -> None:
    """Raise RegistryError where a database does not answer, which MLflow would try for minutes, or has no driver."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    try:
        engine = create_engine(address.uri)
        engine.connect().close()
        engine.dispose()
    except DBAPIError as error:
        reason = str(error.orig).strip().splitlines()[0]
        raise address.refusal(f"the database {address.shown} does not answer ({reason})") from error
    except ModuleNotFoundError as error:
        raise address.refusal(missing_package(error)) from error
    except SQLAlchemyError as error:
        expected = "expected a database URI such as sqlite:///mlflow.db"
        raise address.refusal(f"{expected}, got {address.shown!r} ({error})") from error


def _is_new(uri: str) -> bool:
    """Return whether it is the address of a file that is still to be made."""
    return uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists()


def _check_folder(address: _Address, folder: Path) -> None:
    if not folder.is_dir():
        raise address.refusal(f"expected a database in a folder that exists, got {address.uri}; make {folder}")
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise address.refusal(f"{address.uri} cannot be made ({error.strerror}); give another folder") from error


def _check_host(address: _Address) -> None:
    try:
        parts = urlsplit(address.uri)
        _ = parts.port
    except ValueError as error:
        raise address.refusal(f"expected http://HOST:PORT, got {address.shown!r} ({error})") from error
    if not parts.hostname:
        raise address.refusal(f"expected http://HOST:PORT, got {address.uri!r}, which names no host")
