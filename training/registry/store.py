"""The client of the store of runs and versions."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from polserve.protos.shared.hosts import without_passwords
from polserve.protos.shared.packages import missing_package
from polserve.training.errors import RegistryError
from polserve.training.registry.address import reach
from polserve.training.registry.probe import say_on_stderr

OF_A_SERVER = (
    "an MLflow server keeps the artifacts of this store; set MLFLOW_TRACKING_URI to the server's address, such as "
    "http://127.0.0.1:5000"
)
"""Why a store cannot be used, though its database can be read."""


def connect(
    tracking_uri: str | None = None, *, is_created: bool = True, on_wait: Callable[[str], None] = say_on_stderr
) -> MlflowClient:
    """Return a client of the store; nothing of this process or of MLflow's own is set.

    Args:
        tracking_uri: the store; None for that of MLFLOW_TRACKING_URI, or the default one where it is not set.
        is_created: make the default store where it does not exist.
        on_wait: hears, in a line, that a server is waited for.

    Raises:
        RegistryError: there is no store and none is to be made, its address is none, or no server answers for a minute.
    """
    uri = reach(tracking_uri, is_created=is_created, on_wait=on_wait)
    with registry_errors(uri):
        return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextmanager
def registry_errors(store: MlflowClient | str) -> Iterator[None]:
    """Turn what MLflow raises into a RegistryError of one line that names the store, given by client or address."""
    uri = store if isinstance(store, str) else store.tracking_uri
    try:
        yield
    except ModuleNotFoundError as error:
        raise RegistryError(f"the MLflow store {without_passwords(uri)}: {missing_package(error)}") from error
    except (MlflowException, SQLAlchemyError, OSError) as error:  # the latter two where it is on this machine
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if "mlflow-artifacts URI was supplied" in reason:
            reason = OF_A_SERVER
        raise RegistryError(without_passwords(f"the MLflow store {uri}: {reason}")) from error
