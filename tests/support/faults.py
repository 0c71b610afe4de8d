"""What a service's log tells of faults of its own."""

import re

FAULT = re.compile(r"^.*((?<!http_connection)_failed|internal_error|Traceback).*$", re.MULTILINE)
"""A line that tells of one; that a reader of pages hung up is none."""


def faults(log: str) -> list[str]:
    """Return the lines that tell of a fault."""
    return [found[0] for found in FAULT.finditer(log)]
