"""Whether an MLflow server answers, asked the way its real client asks: by requests, through the same proxies."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException

import requests
from requests.utils import get_environ_proxies, select_proxy
from urllib3.exceptions import NameResolutionError

from polserve.protos.shared.hosts import without_passwords
from polserve.training.errors import RegistryError

START_TIMEOUT_S = 60.0
"""The longest wait for a server that was just started: it takes half a minute on a busy machine."""
PROBE_TIMEOUT_S = 5.0
WORD_INTERVAL_S = 5.0
"""The time between two lines that say who is waited for."""
BEHIND_A_GATEWAY = (502, 503, 504)
"""Statuses of a gateway whose server is not up yet."""
NEEDS_CREDENTIALS = (401, 403)
"""Statuses to which the real client has an answer, or tells what is wrong with it."""
BY_NAME = "/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"
"""A question that MLflow alone understands."""


@dataclass(frozen=True, slots=True)
class _Server:
    """A server whose address was told by a variable or an argument."""

    uri: str
    told_by: str

    @property
    def name(self) -> str:
        """The address as it may be shown."""
        return without_passwords(self.uri).rstrip("/")

    @property
    def by_proxy(self) -> str:
        """The proxy that calls go through, to follow the name in a sentence; empty for none."""
        proxy = select_proxy(self.uri, get_environ_proxies(self.uri, no_proxy=None))
        return f" through the proxy {without_passwords(proxy)}" if proxy else ""


def say_on_stderr(line: str) -> None:
    """Print a line on standard error."""
    sys.stderr.write(f"{line}\n")


def wait_for_server(uri: str, told_by: str, on_wait: Callable[[str], None]) -> None:
    """Return once an MLflow server answers at `uri`.

    Args:
        uri: http:// or https://.
        told_by: the variable or argument that holds it, for errors.
        on_wait: hears at once, and again from time to time, who is waited for and why.

    Raises:
        RegistryError: none answers for a minute, or waiting will not help.
    """
    server = _Server(uri.rstrip("/"), told_by)
    began = told = time.monotonic()
    while (reason := _reason_to_wait(server)) is not None:
        waited = time.monotonic() - began
        if waited > START_TIMEOUT_S:
            raise RegistryError(
                f"no MLflow server answers at {server.name}{server.by_proxy} after {waited:.0f} s ({reason}); "
                f"start one with `mlflow server`, or correct {told_by}"
            )
        if told == began or time.monotonic() - told > WORD_INTERVAL_S:
            told = time.monotonic()
            on_wait(f"waiting for MLflow at {server.name}, {waited:.0f} s of at most {START_TIMEOUT_S:.0f} ({reason})")
        time.sleep(0.5)


def _reason_to_wait(server: _Server) -> str | None:
    """Return why the server does not answer yet; None if it does.

    Raises:
        RegistryError: waiting will not help.
    """
    try:
        health = _get(f"{server.uri}/health")
        if health.ok and health.text.strip() == "OK":
            return None
        return _of_answer(_get(server.uri + BY_NAME), server)
    except requests.exceptions.SSLError as error:
        raise RegistryError(
            f"{server.name} is not trusted, or speaks no TLS ({_core(error)}); give http:// if it is plain, or its "
            "authority's certificate in MLFLOW_TRACKING_SERVER_CERT_PATH"
        ) from error
    except requests.exceptions.ConnectionError as error:
        return _of_connection(error, server)
    except requests.exceptions.Timeout:
        return f"no answer within {PROBE_TIMEOUT_S:.0f} s"
    except (requests.exceptions.RequestException, OSError) as error:  # the latter where a certificate is missing
        raise RegistryError(f"{server.name} cannot be asked ({_core(error)}); correct {server.told_by}") from error


def _get(url: str) -> requests.Response:
    """Ask for the page with what MLflow's client is told of certificates."""
    is_unchecked = os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in {"true", "1"}
    verify = False if is_unchecked else os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or True
    certificate = os.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH") or None
    return requests.get(url, timeout=PROBE_TIMEOUT_S, verify=verify, cert=certificate)


def _of_answer(answer: requests.Response, server: _Server) -> str | None:
    """Return why to wait after this answer; None where MLflow gave it."""
    if answer.status_code in BEHIND_A_GATEWAY:
        return f"HTTP {answer.status_code} {answer.reason}"
    is_json = answer.headers.get("Content-Type", "").startswith("application/json")
    if answer.status_code in NEEDS_CREDENTIALS or (is_json and b'"experiment' in answer.content):
        return None
    if is_json and b'"error_code"' in answer.content:
        return None
    raise RegistryError(
        f"what answers at {server.name}{server.by_proxy} is no MLflow server (HTTP {answer.status_code} to /health); "
        f"check the port of {server.told_by}, which is 5000 where `mlflow server` was given none"
    )


def _of_connection(error: requests.exceptions.ConnectionError, server: _Server) -> str:
    """Return why to wait after a connection failed."""
    chain = _causes(error)
    if isinstance(error, requests.exceptions.ProxyError):
        raise RegistryError(
            f"{server.name} cannot be reached{server.by_proxy} ({_core(error)}); correct http_proxy and https_proxy, "
            "or name the host in no_proxy"
        ) from error
    if any(isinstance(link, NameResolutionError) for link in chain):
        raise RegistryError(
            f"the host of {server.name} is not known ({_core(error)}); correct {server.told_by}"
        ) from error
    if any(isinstance(link, ConnectionRefusedError) for link in chain):
        return _core(error)
    if any(isinstance(link, ConnectionError) for link in chain):  # closed: so does a container whose server starts
        return f"{_core(error)}; if it speaks TLS, give https://" if server.uri.startswith("http:") else _core(error)
    if any(isinstance(link, HTTPException) for link in chain):
        raise RegistryError(
            f"what answers at {server.name} speaks no HTTP; check the port of {server.told_by}, which may be another's"
        ) from error
    return _core(error)


def _causes(error: BaseException) -> list[BaseException]:
    """Return the error and what it was raised for, outermost first."""
    found: list[BaseException] = []
    links: list[object] = [error]
    while links:
        link = links.pop(0)
        if isinstance(link, BaseException) and link not in found:
            found.append(link)
            links += [*link.args, getattr(link, "reason", None), link.__cause__]
    return found


def _core(error: BaseException) -> str:
    """Return what the innermost cause says, in one line."""
    innermost = _causes(error)[-1]
    text = getattr(innermost, "strerror", None) or str(innermost)
    return " ".join(str(text).split()) or type(innermost).__name__
