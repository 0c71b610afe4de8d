"""A service that splits budgets."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.running import Running, service, wait_until
from tests.support.versions import make_allocator_version, make_version


@contextmanager
def budget_service(folder: Path) -> Iterator[Running]:
    """A service with the allocator adbudget and the policy cartpole, which is none."""
    make_allocator_version().write(folder / "adbudget" / "1")
    make_version().write(folder / "cartpole" / "1")
    with service("--policies", str(folder), folder=folder) as running:
        wait_until(running.is_up, running.log)
        yield running
