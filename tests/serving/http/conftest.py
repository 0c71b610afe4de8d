"""A service of every kind of policy, whose HTTP port is spoken to."""

from collections.abc import Iterator

import pytest

from tests.conftest import KINDS
from tests.support.running import Running, service, wait_until
from tests.support.spaces import make_arm_version, make_memory_version
from tests.support.versions import make_allocator_version, make_frames_version, make_version


@pytest.fixture(scope="session", params=["nghttp2", "two-processes"])
def over_http(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service in one process, and one in several."""
    folder = tmp_path_factory.mktemp("over-http")
    versions = (make_version(), make_frames_version(), make_arm_version(), make_memory_version())
    for version in (*versions, make_allocator_version()):
        version.write(folder / version.spec.name / "1")
    with service("--policies", str(folder), *KINDS[request.param], folder=folder) as running:
        wait_until(running.is_up, running.log)
        yield running
