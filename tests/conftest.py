import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from polserve.serving.client import PolicyClient
from tests.support.running import Running, service, started_once
from tests.support.versions import make_frames_version, make_version

pytest_plugins = ["tests.support.lanes", "tests.support.registry", "pytester"]

# Over the wire that is some 2,000 cases, and 100,000 with HYPOTHESIS_PROFILE=nightly.
for profile, n_examples in (("default", 230), ("nightly", 11_200)):
    settings.register_profile(
        profile, max_examples=n_examples, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one version of a small CartPole policy, and one of a policy that takes frames."""
    folder = tmp_path_factory.mktemp("policies")
    make_version().write(folder / "cartpole" / "1")
    make_frames_version().write(folder / "frames" / "1")
    return folder


KINDS = {
    "nghttp2": ("--front", "nghttp2"),
    "grpcio": ("--front", "grpcio"),
    "two-processes": ("--workers", "2"),
}
"""Of services: whoever answers, a caller cannot tell."""
PATIENT = ("--max-wait", "30")
"""Options of services that refuse no call because other programs keep the machine busy."""


@pytest.fixture(scope="session", params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    """A kind of service; tests that depend on it run for each."""
    return str(request.param)


@pytest.fixture(scope="session")
def options(kind: str) -> tuple[str, ...]:
    """The options of `polserve serve` that make one kind of service."""
    return KINDS[kind]


@pytest.fixture(scope="session")
def services(policies: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Running]]:
    """Real services over that folder by their kind, each started when first asked for, and ended with the session.

    A parametrised fixture would end its service and start it again wherever the next file asks for another kind.
    """
    folder = tmp_path_factory.mktemp("services")
    common = ("--policies", str(policies), *PATIENT)
    with started_once(lambda kind: service(*common, *KINDS[kind], folder=folder)) as service_of:
        yield service_of


@pytest.fixture(scope="session")
def running(kind: str, services: Callable[[str], Running]) -> Running:
    """The real service of each kind over that folder."""
    return services(kind)


@pytest.fixture(scope="session")
def client(running: Running) -> Iterator[PolicyClient]:
    """A client of that service."""
    with PolicyClient(running.target) as client:
        yield client
