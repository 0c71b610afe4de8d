"""What a service says over HTTP, read with what its callers must show."""

import urllib.request
from urllib.parse import urlsplit

from polserve.protos.shared.hosts import is_loopback
from polserve.serving.client.credentials import Bearer, Credentials
from polserve.serving.client.http2_socket import tls_context

TIMEOUT_S = 2.0
DEFAULT_PORT = 8080


class Pages:
    """The pages of a service: past no proxy where it is on this machine."""

    def __init__(self, address: str, credentials: Credentials | None = None) -> None:
        """Read pages below `address`, such as http://localhost:8080."""
        credentials = credentials or Credentials()
        self.address = address.rstrip("/")
        proxies: dict[str, str] | None = (
            {} if is_loopback(urlsplit(address).hostname or "") else None
        )  # None: those of the environment
        tls = urllib.request.HTTPSHandler(context=tls_context(credentials, "http/1.1"))
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies), tls)
        self._bearer = Bearer(credentials)

    @classmethod
    def beside(cls, target: str, address: str = "") -> "Pages":
        """Return the pages at `address`; where that is empty, on port 8080 of the host of a gRPC target."""
        from polserve.serving.addresses import spelled
        from polserve.serving.client.target import host_of

        credentials = Credentials.from_environment()
        scheme = "https" if credentials.is_encrypted else "http"
        return cls(address or f"{scheme}://{spelled(host_of(target), DEFAULT_PORT)}", credentials)

    def read(self, path: str = "") -> str:
        """Return the text of a page.

        Raises:
            OSError: it cannot be had.
            ValueError: there can be no such page.
        """
        request = urllib.request.Request(self.address + path, headers=dict(self._bearer.metadata()))  # noqa: S310 - as told
        with self._opener.open(request, timeout=TIMEOUT_S) as page:
            return str(page.read().decode())
