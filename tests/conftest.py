import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from polserve.serving.client import PolicyClient
from tests.support.running import Running, service, wait_until
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


@pytest.fixture(scope="session", params=sorted(KINDS))
def options(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The options of `polserve serve` that make one kind of service."""
    return KINDS[request.param]


@pytest.fixture(scope="session")
def running(options: tuple[str, ...], policies: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A real service of each kind over that folder."""
    folder = tmp_path_factory.mktemp("service")
    with service("--policies", str(policies), *options, folder=folder) as running:
        wait_until(running.is_up, running.log)
        yield running


@pytest.fixture(scope="session")
def client(running: Running) -> Iterator[PolicyClient]:
    """A client of that service."""
    with PolicyClient(running.target) as client:
        yield client
