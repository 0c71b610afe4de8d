"""What handlers have in common: one that answers each call by itself, and rows of many calls checked at once."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from polserve.protos.tensors import CODES
from polserve.serving.errors import DROPPED, Expired, InvalidRequest
from polserve.serving.handlers.codec import parse_small
from polserve.serving.policy import ObservationContract
from polserve.serving.rounds import Call

M = TypeVar("M", bound=Message)


class Quiet:
    """A handler that takes no notice of how calls begin and end."""

    def open(self, call: Call) -> None:
        """Let every call begin."""

    def half_close(self, call: Call) -> None:
        """End a stream when its client does."""
        call.finish()

    def close(self, call: Call) -> None:
        """Do nothing: no state was kept of the call."""


class Each(Quiet):
    """Answers each call by itself, with a function from message to message."""

    def __init__(self, kind: type[M], answer: Callable[[M], Message]) -> None:
        self._kind: Any = kind
        self._answer: Callable[[Any], Message] = answer

    def handle(self, calls: Sequence[Call]) -> None:
        """Answer each call."""
        for call in calls:
            try:
                call.reply(self._answer(parse_small(self._kind, call.message)).SerializeToString())
            except Exception as error:  # noqa: BLE001 - every error must become a status
                call.fail(error)


def reject_unwanted(call: Call) -> bool:
    """Whether nobody waits for the call any more; it has ended then."""
    if call.is_wanted():
        return False
    call.fail(Expired(DROPPED))
    return True


def rows_of(
    contract: ObservationContract, dtype: int, shape: tuple[int, ...], data: Sequence[bytes]
) -> NDArray[Any] | None:
    """Observations of calls that ask alike, (n, *contract.shape), checked; None to look at each by itself.

    Args:
        contract: what one observation must be.
        dtype: what each call says.
        shape: likewise.
        data: of each call; all of one length.
    """
    n_axes = len(contract.shape)
    if dtype != CODES[contract.dtype] or shape[len(shape) - n_axes :] != contract.shape or len(shape) > n_axes + 1:
        return None
    n = shape[0] if len(shape) > n_axes else 1
    if n < 1 or len(data[0]) != n * contract.n_bytes:
        return None
    try:
        return contract.check(np.frombuffer(b"".join(data), contract.dtype).reshape(-1, *contract.shape))
    except InvalidRequest:
        return None


def parts_of(n: int, size: int) -> list[slice]:
    """Return slices of at most `size` that cover n things."""
    return [slice(start, min(n, start + size)) for start in range(0, n, size)]
