"""How much memory there is, before it is taken."""

import contextlib
from pathlib import Path

import psutil

from training.errors import require

CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Files with the limit in bytes, of control groups version 2 and 1."""


def check_memory(nbytes: int, capacity: int) -> None:
    """Raise InvalidOption where a replay of `nbytes` bytes does not fit into the memory that is left."""
    available = available_bytes()
    require(
        nbytes <= available,
        "replay_capacity",
        f"a replay that fits into the {available:,} bytes of memory that are available",
        f"{capacity:,} steps, which need {nbytes:,} bytes",
    )


def available_bytes() -> int:
    """Memory that this process may still take: what the machine has free, or less where a control group says so."""
    free = psutil.virtual_memory().available
    for limit in CGROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # absent, or "max"
            free = min(free, int(Path(limit).read_text()) - psutil.Process().memory_info().rss)
    return free
