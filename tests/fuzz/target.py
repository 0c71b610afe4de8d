"""What a target of fuzzing is: a function that takes any bytes, and raises only for what must not be."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from polserve.serving import logs
from tests.support.faults import FAULT


@dataclass(frozen=True)
class Target:
    """A function, and bytes that are worth changing."""

    run: Callable[[bytes], None]
    """Raises where something is wrong that is not the bytes' own fault."""
    seeds: Sequence[bytes]


class Fault(Exception):
    """Something told the log of a fault of its own."""


@contextlib.contextmanager
def no_faults() -> Iterator[None]:
    """A block in which nothing may log a fault; other events are thrown away. Raises Fault."""
    found: list[str] = []

    def write(level: str, event: str, fields: dict[str, object]) -> None:
        del level
        if FAULT.match(event):
            found.append(f"{event} {fields}")

    before, logs._write = logs._write, write  # noqa: SLF001 - the one place that all events pass
    try:
        yield
    finally:
        logs._write = before  # noqa: SLF001
    if found:
        raise Fault(found[0])


def pieces(data: bytes) -> list[bytes]:
    """Return bytes cut into messages: before each, its length in two bytes; what is left over is the last one."""
    found = []
    while len(data) >= 2:
        n = int.from_bytes(data[:2], "big")
        found.append(data[2 : 2 + n])
        data = data[2 + n :]
    return found


def joined(*messages: bytes) -> bytes:
    """Return messages so that `pieces` cuts them."""
    return b"".join(len(message).to_bytes(2, "big") + message for message in messages)
