"""The processes that a process has started."""

from pathlib import Path


def children_of(pid: int, program: str = "") -> list[int]:
    """The children of a process whose command line has `program` in it, the oldest first."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except FileNotFoundError:
        return []
    children = [child for task in tasks for child in (_text(task / "children") or "").split()]
    commands = {int(child): _text(Path(f"/proc/{child}/cmdline")) for child in children}
    return sorted(child for child, command in commands.items() if command is not None and program in command)


def _text(file: Path) -> str | None:
    """What is in a file of a thread or a process; None where that has just ended."""
    try:
        return file.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None


def is_zombie(pid: int) -> bool:
    """Whether a process has ended, and nobody has asked for its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return False
