"""The processes that a process has started."""

import contextlib
from pathlib import Path


def children_of(pid: int, program: str = "") -> list[int]:
    """The children of a process whose command line has `program` in it, the oldest first."""
    found = []
    with contextlib.suppress(FileNotFoundError):  # a thread, or a child, has just ended
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                with contextlib.suppress(FileNotFoundError):
                    if program in Path(f"/proc/{child}/cmdline").read_text():
                        found.append(int(child))
    return sorted(found)


def is_zombie(pid: int) -> bool:
    """Whether a process has ended, and nobody has asked for its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return False
