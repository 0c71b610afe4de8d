"""A call that stands for another one: what handlers ask of it, it asks that one."""

from typing import Any

from polserve.serving.access.callers import Caller
from polserve.serving.methods import Call, Method
from polserve.serving.request_ids import RequestId


class PassedCall:
    """A call whose handler keeps a state of its own for it; all else is that of the call that came."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.state: Any = None

    @property
    def method(self) -> Method:
        """What is called."""
        return self._call.method

    @property
    def message(self) -> bytes:
        """The request; raises what keeps it from being read."""
        return self._call.message

    @message.setter
    def message(self, message: bytes) -> None:
        self._call.message = message

    @property
    def size(self) -> int:
        """Bytes of the request."""
        return self._call.size

    @size.setter
    def size(self, size: int) -> None:
        self._call.size = size

    @property
    def is_over(self) -> bool:
        """Whether the call has ended."""
        return self._call.is_over

    @is_over.setter
    def is_over(self, is_over: bool) -> None:
        self._call.is_over = is_over

    @property
    def deadline(self) -> float | None:
        """Time at which the call expires, by the monotonic clock; None for never."""
        return self._call.deadline

    @property
    def active_at(self) -> float:
        """When the client last sent or was sent something."""
        return self._call.active_at

    @active_at.setter
    def active_at(self, active_at: float) -> None:
        self._call.active_at = active_at

    @property
    def caller(self) -> Caller:
        """Who calls."""
        return self._call.caller

    @caller.setter
    def caller(self, caller: Caller) -> None:
        self._call.caller = caller

    @property
    def request_id(self) -> RequestId:
        """What the call is called in logs, errors and traces."""
        return self._call.request_id

    @request_id.setter
    def request_id(self, request_id: RequestId) -> None:
        self._call.request_id = request_id

    def is_wanted(self) -> bool:
        """Whether somebody still waits."""
        return self._call.is_wanted()
