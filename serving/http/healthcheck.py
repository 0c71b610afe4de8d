"""The image's health check: exit 0 where the service in this container is ready.

Run it by `python -m polserve.serving.http.healthcheck`.

It runs every few seconds, so that it imports nothing heavy; a test holds that it reads the address as `serve` does.
"""

import ipaddress
import os
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from itertools import pairwise
from pathlib import Path

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", "8080"
TIMEOUT_S = 2.0


def main() -> None:
    """Print why the service is not ready, and exit 1; or exit 0."""
    first_process = Path("/proc/1/cmdline").read_text(errors="replace").split("\0")
    try:
        scheme = "https" if _setting("tls-cert", os.environ, first_process) else "http"
        url = f"{scheme}://{address(os.environ, first_process)}/readyz"
    except ValueError as error:
        sys.exit(f"http-port: expected a number ({error})")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE  # nobody is on the way to a service in this container
    no_proxy = urllib.request.ProxyHandler({})  # which would look at another machine
    opener = urllib.request.build_opener(no_proxy, urllib.request.HTTPSHandler(context=tls))
    try:
        opener.open(url, timeout=TIMEOUT_S).close()
    except urllib.error.HTTPError as error:
        sys.exit(error.read().decode(errors="replace"))
    except (OSError, ValueError, HTTPException) as error:
        sys.exit(f"{url} does not answer: {error}")


def address(environment: Mapping[str, str], arguments: Sequence[str]) -> str:
    """Return host:port of the pages of a service that was started with these variables and arguments."""
    host = _setting("host", environment, arguments) or DEFAULT_HOST
    port = int(float(_setting("http-port", environment, arguments) or DEFAULT_PORT))  # 8080.0 is one to `serve`, too
    host = host.removeprefix("[").removesuffix("]")
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return f"{host}:{port}"
    if ip.is_unspecified:  # it listens on all
        host = "127.0.0.1" if ip.version == 4 else "::1"  # noqa: PLR2004 - of IP
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _setting(flag: str, environment: Mapping[str, str], arguments: Sequence[str]) -> str:
    """Return the value of a flag, else of a variable in any case; empty where neither is set."""
    for word, after in pairwise([*arguments, ""]):
        if word == f"--{flag}":
            return after.strip()
        if word.startswith(f"--{flag}="):
            return word.partition("=")[2].strip()
    name = f"polserve_{flag}".replace("-", "_")
    told = next((value.strip() for key, value in environment.items() if key.lower() == name), "")
    return "" if "://" in told else told  # a link that Kubernetes makes, which `serve` ignores too


if __name__ == "__main__":
    main()
