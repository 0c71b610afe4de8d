"""A running service, and environments with other people's clients, each made once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.installing import install_packages
from tests.support.running import Running, service, wait_until

TRITON = (
    "tritonclient==2.73.0",
    *("python-rapidjson==1.25", "brotli==1.2.1", "greenlet==3.3.2", "gevent==26.9.0", "geventhttpclient==2.6.1"),
    *("zope.event==6.2", "zope.interface==8.7"),
)
KSERVE = (
    "kserve==0.21.0",
    *("cloudevents==1.13.0", "deprecation==2.1.0", "durationpy==0.11", "grpc-interceptor==0.15.4", "httpcore==1.0.9"),
    *("httpx==0.28.1", "kubernetes==37.0.1", "oauthlib==4.0.1", "orjson==3.13.0", "python-multipart==0.0.34"),
    *("requests-oauthlib==2.0.0", "tabulate==0.10.0", "timing-asgi==0.3.2", "watchfiles==1.3.0"),
    "websocket-client==1.9.2",
)
SCHEMATHESIS = (
    "schemathesis==4.32.0",
    *("harfile==0.6.0", "hypothesis-graphql==0.13.5", "jsonschema-rs==0.59.0", "pyrate-limiter==4.5.1"),
)
"""Clients, and what they need that polserve does not bring."""


@pytest.fixture(scope="session")
def served(policies: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service of CartPole and a policy that takes frames, as `polserve serve` starts it."""
    with service("--policies", str(policies), folder=tmp_path_factory.mktemp("served")) as running:
        wait_until(running.is_up, running.log)
        yield running


@pytest.fixture(scope="session")
def triton_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The interpreter of an environment with Triton's client."""
    return str(install_packages(tmp_path_factory.mktemp("triton") / "environment", *TRITON, has_deps=False))


@pytest.fixture(scope="session")
def kserve_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The interpreter of an environment with KServe's client."""
    return str(install_packages(tmp_path_factory.mktemp("kserve") / "environment", *KSERVE, has_deps=False))


@pytest.fixture(scope="session")
def schemathesis_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The interpreter of an environment with schemathesis."""
    folder = tmp_path_factory.mktemp("schemathesis") / "environment"
    return str(install_packages(folder, *SCHEMATHESIS, has_deps=False))
