"""What the validator gives up before it sees a version: a graph that gets the better of it gets little more."""

import os
import resource
import stat
import sys
from pathlib import Path

from polserve.serving.errors import RolloutRefused, is_out_of_memory

MIB = 2**20
CPU_S = 100
"""Seconds of processor time for one version: less than the time by the clock that the service waits."""
OPEN_FILES = 64
"""Open files, at most; about ten are needed."""
LOG_BYTES = 64 * MIB
"""Bytes that may be written to a log, where standard error is a file."""

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_NO_NEW_PRIVILEGES = 38
_STATUS = Path("/proc/self/status")


def leave_network() -> str | None:
    """Move this process into a network without interfaces; return why that cannot be done, or None where it was.

    NOTE: call it before anything starts a thread: only a process without others may leave its user namespace.
    """
    if sys.platform != "linux":
        return "only Linux has empty networks"
    import ctypes  # which the service, that reads a figure here, has no use for

    libc = ctypes.CDLL(None, use_errno=True)
    for flags in (_NEW_NETWORK, _NEW_USER | _NEW_NETWORK):  # the first one for root, the second one for others
        if libc.unshare(flags) == 0:
            return None
    return os.strerror(ctypes.get_errno())


def limit_process(memory_mib: int) -> None:
    """Bound what this process may take from now on; the kernel ends it first where the machine's memory runs out."""
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    _limit(resource.RLIMIT_FSIZE, _bytes_of_log())
    if sys.platform != "linux":  # where memory is not counted so
        return
    import ctypes

    # Not RLIMIT_AS: libraries reserve far more addresses than they ever write to.
    _limit(resource.RLIMIT_DATA, _data_bytes() + memory_mib * MIB)
    Path("/proc/self/oom_score_adj").write_text("1000")
    ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)


def begin_version() -> None:
    """Give the next version its processor time; SIGXCPU ends this process when that is over."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + CPU_S, most))


def out_of_memory(error: Exception, memory_mib: int) -> RolloutRefused | None:
    """Return the refusal of a version that asked for too much memory; None where the error is another."""
    if is_out_of_memory(error):
        return RolloutRefused(
            f"memory: expected at most {memory_mib:,} MiB to validate the version, got more; make the network smaller, "
            "or raise --validator-memory-mib"
        )
    return None


def _limit(kind: int, value: int) -> None:
    """Set a limit of this process, and of its superiors where that is lower."""
    _, most = resource.getrlimit(kind)
    value = value if most == resource.RLIM_INFINITY else min(value, most)
    resource.setrlimit(kind, (value, value))


def _bytes_of_log() -> int:
    """Largest file that may be written: none, but for the log."""
    log = os.fstat(sys.stderr.fileno())
    return log.st_size + LOG_BYTES if stat.S_ISREG(log.st_mode) else 0


def _data_bytes() -> int:
    """Bytes of private memory that this process has."""
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
    return int(lines["VmData"].split()[0]) * 1024
