"""How many CPU cores this process may use: those it is bound to, and no more than its control groups' quota."""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

CONTROL_GROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def cores(control_groups: Path = CONTROL_GROUPS, membership: Path = MEMBERSHIP) -> int:
    """Whole cores; a part of one counts as one, and a container's quota of 1.5 as 2.

    Args:
        control_groups: where the control groups are mounted.
        membership: file that names those of this process.
    """
    quotas = _quotas(control_groups, membership)
    return max(1, min([len(os.sched_getaffinity(0)), *(math.ceil(quota) for quota in quotas)]))


def _quotas(control_groups: Path, membership: Path) -> Iterator[float]:
    """Cores' worth of time that each control group allows, from the process's own up to the root."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:  # no Linux, or no /proc
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = control_groups / "cpu" if controllers else control_groups
        # NOTE: in a container the path may be the host's, which is not there: then the root is the container's.
        for group in (PurePosixPath(path), *PurePosixPath(path).parents):
            quota = _quota(mount / str(group).lstrip("/"))
            if quota is not None:
                yield quota


def _quota(group: Path) -> float | None:
    """Read what one group allows; None for no limit. Version 2 has one file, version 1 two."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return float(quota) / float(period) if float(quota) > 0 else None
    except (OSError, ValueError):  # no such file, or the word max
        return None
