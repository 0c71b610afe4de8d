import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def _without_torch() -> Iterator[None]:
    """Fail a file that imports torch: the service is tested with what the service installs."""
    was_imported = "torch" in sys.modules
    yield
    assert was_imported or "torch" not in sys.modules, "a test of the service imported torch; see tests/support"
