"""Addresses of pages: where people find what a run recorded."""

from urllib.parse import unquote, urlsplit

from mlflow import MlflowClient

from polserve.training.registry.address import is_server
from polserve.training.registry.store import registry_errors


def run_page(client: MlflowClient, run_id: str) -> str:
    """Return the address of a run's page, or where its files are and how its page is shown, where no server is.

    Raises:
        RegistryError: the run cannot be read.
    """
    with registry_errors(client):
        info = client.get_run(run_id).info
    uri = client.tracking_uri
    if is_server(uri):
        address = urlsplit(uri)
        host = address.netloc.rpartition("@")[2]  # what stands before is a password
        return f"{address.scheme}://{host}{address.path.rstrip('/')}/#/experiments/{info.experiment_id}/runs/{run_id}"
    artifacts = urlsplit(info.artifact_uri)
    files = unquote(artifacts.path) if artifacts.scheme in {"", "file"} else info.artifact_uri
    store = f"`mlflow ui --backend-store-uri {uri}` shows the run" if "@" not in uri else "`mlflow ui` shows the run"
    return f"{files}; {store}"
