"""Settings that a program of ours makes for its whole process; functions that others call make none."""

import logging
import os
from urllib.parse import urlsplit

from polserve.protos.shared.hosts import is_loopback, no_proxy
from polserve.training.registry.address import DEFAULT_TRACKING_URI, VARIABLE, is_server

MLFLOW_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
"""Variables of MLflow's client, where the user has not set them: by default one call takes minutes to fail."""


def prepare_program() -> None:
    """Set this process up to use MLflow: short waits, no chatter, and no proxy before a registry on this machine.

    A command calls it once, before anything else does; a function that an application calls never does.
    """
    for name, value in MLFLOW_SETTINGS.items():
        os.environ.setdefault(name, value)
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    uri = os.environ.get(VARIABLE) or DEFAULT_TRACKING_URI
    try:
        host = urlsplit(uri).hostname or "" if is_server(uri) else ""
    except ValueError:  # told, with the remedy, by who reaches for the store
        return
    if is_loopback(host):
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = no_proxy(os.environ, host)
