"""How many observations a service answers, read off its page /metrics."""

import re
import time
import urllib.request
from urllib.parse import urlsplit

from polserve.protos.shared.hosts import is_loopback
from polserve.serving.client.credentials import Bearer, Credentials
from polserve.serving.client.http2_socket import tls_context

COUNTED = re.compile(r"^polserve_observations_total\{(?P<labels>[^}]*)\} (?P<value>\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')
TIMEOUT_S = 2.0


class Counter:
    """A page of metrics, read again and again for the rates between two looks."""

    def __init__(self, url: str, credentials: Credentials | None = None) -> None:
        """Look at a page of metrics, with what the service's callers must show."""
        credentials = credentials or Credentials()
        self.problem = ""
        """Why nothing is known; empty if something is."""
        self._url = url
        proxies: dict[str, str] | None = (
            {} if is_loopback(urlsplit(url).hostname or "") else None
        )  # None: those of the environment
        tls = urllib.request.HTTPSHandler(context=tls_context(credentials, "http/1.1"))
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies), tls)
        self._bearer = Bearer(credentials)
        self._before: dict[tuple[str, str], float] | None = None
        self._looked = 0.0

    def per_second(self) -> dict[tuple[str, str], float] | None:
        """Look again; return observations a second since the last look by policy and version, None if not known."""
        now = time.monotonic()
        try:
            request = urllib.request.Request(self._url, headers=dict(self._bearer.metadata()))  # noqa: S310 - as told
            with self._opener.open(request, timeout=TIMEOUT_S) as page:
                counts = observation_counts(page.read().decode())
        except (OSError, ValueError) as error:
            self.problem = f"no metrics at {self._url} ({error}); give their address with --metrics"
            return None
        before, seconds = self._before, now - self._looked
        self._before, self._looked, self.problem = counts, now, ""
        if before is None:
            return None
        return {name: max(0.0, count - before.get(name, 0.0)) / seconds for name, count in counts.items()}


def observation_counts(text: str) -> dict[tuple[str, str], float]:
    """Read the observations answered so far off the page's text; return them by policy and version."""
    counts: dict[tuple[str, str], float] = {}
    for match in COUNTED.finditer(text):
        labels = dict(LABEL.findall(match["labels"]))
        name = (labels["policy"], labels["version"])
        counts[name] = counts.get(name, 0.0) + float(match["value"])
    return counts
