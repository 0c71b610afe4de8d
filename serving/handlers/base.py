"""What handlers have in common: one that answers each call by itself, and rows of many calls checked at once."""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from polserve.serving.access.callers import Caller
from polserve.serving.errors import DROPPED, Expired, InvalidRequest
from polserve.serving.handlers.codec import parse_small
from polserve.serving.methods import Call
from polserve.serving.policy import ObservationContract

M = TypeVar("M", bound=Message)


class Quiet:
    """A handler that takes no notice of how calls begin and end."""

    def open(self, call: Call) -> None:
        """Let every call begin."""

    def foresee(self, call: Call, beginning: bytes) -> None:
        """Let every message come."""

    def half_close(self, call: Call) -> None:
        """End a stream when its client does."""
        call.finish()

    def close(self, call: Call) -> None:
        """Do nothing: no state was kept of the call."""


class Each(Quiet):
    """Answers each call by itself, with a function from a message and its caller to a message."""

    def __init__(self, kind: type[M], answer: Callable[[M, Caller], Message]) -> None:
        self._kind: Any = kind
        self._answer: Callable[[Any, Caller], Message] = answer

    def handle(self, calls: Sequence[Call]) -> None:
        """Answer each call."""
        for call in calls:
            try:
                request = parse_small(self._kind, call.message)
                call.reply(self._answer(request, call.caller).SerializeToString())
            except Exception as error:  # noqa: BLE001 - every error must become a status
                call.fail(error)


def deadline_of(call: Call) -> float:
    """Return when a call expires, by the monotonic clock; infinite for never."""
    return math.inf if call.deadline is None else call.deadline


def reject_unwanted(call: Call) -> bool:
    """Whether nobody waits for the call any more; it has ended then."""
    if call.is_wanted():
        return False
    call.fail(Expired(DROPPED))
    return True


def rows_each(contract: ObservationContract, dtype: int, shape: tuple[int, ...], n_bytes: int) -> int:
    """Return how many observations each call holds that says this; 0 where each is to be looked at by itself."""
    n_axes = len(contract.shape)
    if dtype != contract.code or shape[len(shape) - n_axes :] != contract.shape or len(shape) > n_axes + 1:
        return 0
    n = shape[0] if len(shape) > n_axes else 1
    return n if n >= 1 and n_bytes == n * contract.n_bytes else 0


def checked_rows(contract: ObservationContract, data: Sequence[bytes]) -> NDArray[Any] | None:
    """Observations of several calls, (n, *contract.shape); None where a value of one is not what it must be.

    Args:
        contract: what one observation must be.
        data: of each call, as many bytes as its observations have.
    """
    joined = data[0] if len(data) == 1 else b"".join(data)
    rows = np.frombuffer(joined, contract.dtype).reshape(-1, *contract.shape)
    try:
        contract.check_rows(rows)
    except InvalidRequest:
        return None
    return rows


def parts_of(n: int, size: int) -> list[slice]:
    """Return slices of at most `size` that cover n things."""
    if n <= size:
        return [slice(0, n)]
    return [slice(start, min(n, start + size)) for start in range(0, n, size)]
