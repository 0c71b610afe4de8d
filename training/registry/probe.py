"""Whether an MLflow server answers, asked the way its real client asks: by requests, through the same proxies."""

import os
import sys
import time
from http.client import HTTPException
from urllib.parse import urlsplit

import requests
from requests.utils import get_environ_proxies, select_proxy
from urllib3.exceptions import NameResolutionError

from polserve.protos.shared.hosts import is_loopback, no_proxy, without_passwords
from polserve.training.errors import RegistryError

START_TIMEOUT_S = 60.0
"""For a server that was just started: it takes half a minute on a busy machine."""
PROBE_TIMEOUT_S = 5.0
WORD_INTERVAL_S = 5.0
"""Between two lines that say who is waited for."""
BEHIND_A_GATEWAY = (502, 503, 504)
"""Statuses of a gateway whose server is not up yet."""
NEEDS_CREDENTIALS = (401, 403)
"""Statuses to which the real client has an answer, or tells what is wrong with it."""
BY_NAME = "/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"
"""A question that MLflow alone understands."""


def wait_for_server(uri: str, name: str) -> None:
    """Return once an MLflow server answers at `uri`; say on stderr who is waited for.

    Calls to this machine itself go through no proxy from now on, those of the real client included.

    Args:
        uri: http:// or https://.
        name: the same, as it may be shown.

    Raises:
        RegistryError: none answers for a minute, or waiting will not help.
    """
    _keep_off_proxies(urlsplit(uri).hostname or "")
    began = told = time.monotonic()
    while reason := _reason_to_wait(uri.rstrip("/"), name):
        waited = time.monotonic() - began
        if waited > START_TIMEOUT_S:
            raise RegistryError(
                f"no MLflow server answers at {name}{_by_proxy(uri)} after {waited:.0f} s ({reason}); "
                "start one with `mlflow server`, or correct MLFLOW_TRACKING_URI"
            )
        if told == began or time.monotonic() - told > WORD_INTERVAL_S:
            told = time.monotonic()
            sys.stderr.write(
                f"waiting for MLflow at {name}, {waited:.0f} s of at most {START_TIMEOUT_S:.0f} ({reason})\n"
            )
        time.sleep(0.5)


def _keep_off_proxies(host: str) -> None:
    if is_loopback(host):
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = no_proxy(os.environ, host)


def _reason_to_wait(uri: str, name: str) -> str:
    """Why the server does not answer yet; empty if it does.

    Raises:
        RegistryError: waiting will not help.
    """
    try:
        health = _get(f"{uri}/health")
        if health.ok and health.text.strip() == "OK":
            return ""
        return _of_answer(_get(uri + BY_NAME), uri, name)
    except requests.exceptions.SSLError as error:
        raise RegistryError(
            f"{name} is not trusted, or speaks no TLS ({_core(error)}); give http:// if it is plain, or its "
            "authority's certificate in MLFLOW_TRACKING_SERVER_CERT_PATH"
        ) from error
    except requests.exceptions.ConnectionError as error:
        return _of_connection(error, uri, name)
    except requests.exceptions.Timeout:
        return f"no answer within {PROBE_TIMEOUT_S:.0f} s"
    except (requests.exceptions.RequestException, OSError) as error:  # the latter where a certificate is missing
        raise RegistryError(f"{name} cannot be asked ({_core(error)}); correct MLFLOW_TRACKING_URI") from error


def _get(url: str) -> requests.Response:
    """The page, asked for with what MLflow's client is told of certificates."""
    is_unchecked = os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in {"true", "1"}
    verify = False if is_unchecked else os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or True
    certificate = os.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH") or None
    return requests.get(url, timeout=PROBE_TIMEOUT_S, verify=verify, cert=certificate)


def _of_answer(answer: requests.Response, uri: str, name: str) -> str:
    """Why to wait after this answer; empty where MLflow gave it."""
    if answer.status_code in BEHIND_A_GATEWAY:
        return f"HTTP {answer.status_code} {answer.reason}"
    is_json = answer.headers.get("Content-Type", "").startswith("application/json")
    if answer.status_code in NEEDS_CREDENTIALS or (is_json and b'"experiment' in answer.content):
        return ""
    if is_json and b'"error_code"' in answer.content:
        return ""
    raise RegistryError(
        f"what answers at {name}{_by_proxy(uri)} is no MLflow server (HTTP {answer.status_code} to /health); "
        "check the port of MLFLOW_TRACKING_URI, which is 5000 where `mlflow server` was given none"
    )


def _of_connection(error: requests.exceptions.ConnectionError, uri: str, name: str) -> str:
    """Why to wait after a connection failed."""
    chain = _causes(error)
    if isinstance(error, requests.exceptions.ProxyError):
        raise RegistryError(
            f"{name} cannot be reached{_by_proxy(uri)} ({_core(error)}); correct http_proxy and https_proxy, or name "
            "the host in no_proxy"
        ) from error
    if any(isinstance(link, NameResolutionError) for link in chain):
        raise RegistryError(f"the host of {name} is not known ({_core(error)}); correct MLFLOW_TRACKING_URI") from error
    if any(isinstance(link, ConnectionRefusedError) for link in chain):
        return _core(error)
    if any(isinstance(link, ConnectionError) for link in chain):  # closed: so does a container whose server starts
        return f"{_core(error)}; if it speaks TLS, give https://" if uri.startswith("http:") else _core(error)
    if any(isinstance(link, HTTPException) for link in chain):
        raise RegistryError(
            f"what answers at {name} speaks no HTTP; check the port of MLFLOW_TRACKING_URI, which may be another's"
        ) from error
    return _core(error)


def _causes(error: BaseException) -> list[BaseException]:
    """The error and what it was raised for, outermost first."""
    found: list[BaseException] = []
    links: list[object] = [error]
    while links:
        link = links.pop(0)
        if isinstance(link, BaseException) and link not in found:
            found.append(link)
            links += [*link.args, getattr(link, "reason", None), link.__cause__]
    return found


def _core(error: BaseException) -> str:
    """What the innermost cause says, in one line."""
    innermost = _causes(error)[-1]
    text = getattr(innermost, "strerror", None) or str(innermost)
    return " ".join(str(text).split()) or type(innermost).__name__


def _by_proxy(uri: str) -> str:
    """The proxy that calls to `uri` go through; empty for none."""
    proxy = select_proxy(uri, get_environ_proxies(uri, no_proxy=None))
    return f" through the proxy {without_passwords(proxy)}" if proxy else ""
