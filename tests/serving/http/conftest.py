"""A service of every kind of policy, whose HTTP port is spoken to."""

from collections.abc import Callable, Iterator

import pytest

from tests.conftest import KINDS, PATIENT
from tests.support.running import Running, service, started_once
from tests.support.spaces import make_arm_version, make_memory_version
from tests.support.versions import make_allocator_version, make_frames_version, make_version


@pytest.fixture(scope="session")
def http_services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Running]]:
    """Services of every kind of policy by their kind, each started when it is first asked for."""
    folder = tmp_path_factory.mktemp("over-http")
    versions = (make_version(), make_frames_version(), make_arm_version(), make_memory_version())
    for version in (*versions, make_allocator_version()):
        version.write(folder / version.spec.name / "1")
    common = ("--policies", str(folder), *PATIENT)
    with started_once(lambda kind: service(*common, *KINDS[kind], folder=folder)) as service_of:
        yield service_of


@pytest.fixture(scope="session", params=["nghttp2", "two-processes"])
def over_http(request: pytest.FixtureRequest, http_services: Callable[[str], Running]) -> Running:
    """A service in one process, and one in several."""
    return http_services(request.param)
