"""How much memory there is, before it is taken."""

import re
from pathlib import Path

import psutil

from polserve.training.errors import require

CGROUP = Path("/sys/fs/cgroup")
"""Of the control group (version 2) that a container is in."""


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
    """Memory that may still be taken: what the machine has free, or less where a control group says so."""
    free = int(psutil.virtual_memory().available)
    limit, current, stat = (CGROUP / f"memory.{name}" for name in ("max", "current", "stat"))
    if limit.exists() and (text := limit.read_text().strip()) != "max":
        cached = re.search(r"^inactive_file (\d+)$", stat.read_text(), re.MULTILINE)
        free = min(free, int(text) - int(current.read_text()) + (int(cached.group(1)) if cached else 0))
    return free
