from collections.abc import Callable

import pytest

from tests.support.running import Running


@pytest.fixture(scope="session")
def running(services: Callable[[str], Running]) -> Running:
    """A real service of the one kind that is enough for commands, which are clients of any."""
    return services("nghttp2")
