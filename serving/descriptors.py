"""File descriptors of a process: each connection takes one."""

import contextlib
import resource

SPARE = 1024
"""Descriptors for everything but connections: files, pipes, sockets of our own."""


def allow_connections(n: int) -> None:
    """Let this process have so many connections, as far as the system lets it: many allow 1,024 files unless asked."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = n + SPARE if hard == resource.RLIM_INFINITY else min(n + SPARE, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # what is not allowed is found when connections are accepted
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
