"""A running service, and environments with other people's clients, each made once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.installing import install_packages
from tests.support.running import Running, service, wait_until

TRITONCLIENT = "tritonclient[grpc,http]==2.73.0"
KSERVE = "kserve==0.21.0"


@pytest.fixture(scope="session")
def served(policies: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service of CartPole and a policy that takes frames, as `polserve serve` starts it."""
    with service("--policies", str(policies), folder=tmp_path_factory.mktemp("served")) as running:
        wait_until(running.is_up, running.log)
        yield running


@pytest.fixture(scope="session")
def triton_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The interpreter of an environment with Triton's client."""
    return str(install_packages(tmp_path_factory.mktemp("triton") / "environment", TRITONCLIENT))


@pytest.fixture(scope="session")
def kserve_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The interpreter of an environment with KServe's client."""
    return str(install_packages(tmp_path_factory.mktemp("kserve") / "environment", KSERVE))
