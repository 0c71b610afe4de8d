"""The methods that can be called, and what carriers and handlers know of each other: a call, and who answers it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from polserve.serving.access.callers import Caller, Role
from polserve.serving.request_ids import RequestId

Kind: TypeAlias = Literal["unary", "server_stream", "bidi_stream"]

FORESEEN_BYTES = 2048
"""As much of a request's beginning is looked at before the rest has come: names and parameters stand there."""


class Call(Protocol):
    """A call that a carrier has received, as handlers see it."""

    size: int
    """Bytes of the request that is to be answered now; more than that where it is compressed."""
    is_over: bool
    """Whether the call has ended."""
    state: Any
    """What the method's handler keeps of a stream."""
    active_at: float
    """When the client last sent or was sent something, by the monotonic clock."""
    request_id: RequestId
    """What the call is called in logs, errors and traces."""
    caller: Caller
    """Who calls: has the role that the method needs, and sees `caller.policies`."""

    @property
    def method(self) -> "Method":
        """What is called."""

    @property
    def deadline(self) -> float | None:
        """Time at which the call expires, by the monotonic clock; None for never."""

    @property
    def message(self) -> bytes:
        """The request that is to be answered now; raises what keeps it from being read."""

    @message.setter
    def message(self, message: bytes) -> None: ...

    def is_wanted(self) -> bool:
        """Whether somebody still waits: the deadline has not passed, and the client has not gone."""

    def reply(self, response: bytes) -> None:
        """Send a serialised message: the answer to `message`. It ends a unary call, and lets a stream go on."""

    def fail(self, error: BaseException) -> None:
        """End the call with the status of an error; nothing where it has ended."""

    def finish(self) -> None:
        """End a stream with OK."""

    def wait(self) -> None:
        """See to it that the call ends at its deadline, since it is not answered at once."""


class CallCounter(Protocol):
    """Where the calls of a method are counted and timed."""

    def begin(self) -> None:
        """Count a call that has begun."""

    def end(self, seconds: float, code: str) -> None:
        """Count a call that has ended with this status."""

    def refuse(self, reason: str) -> None:
        """Count a call that there was no room for, by what there was none of."""

    def turn_away(self, n: int, reason: str, code: str) -> None:
        """Count n calls that have begun, were refused and have ended with this status, all at once."""


class Handler(Protocol):
    """What answers a method's calls; of the streams among them, each takes part with one message at a time."""

    def handle(self, calls: Sequence[Call]) -> None:
        """Answer each call's message, by its `reply` or `fail`, now or later."""

    def open(self, call: Call) -> None:
        """Take notice of a call that begins; raises to refuse it."""

    def foresee(self, call: Call, beginning: bytes) -> None:
        """Take notice of how a call's message begins, the rest of which is yet to come.

        Raises:
            Overloaded: there will be no room for it; the rest is not to be read.
        """

    def half_close(self, call: Call) -> None:
        """Take notice that the client will send no more on a stream, and everything that it sent was answered."""

    def close(self, call: Call) -> None:
        """Forget a call: it has ended, however it did."""


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """A method that can be called."""

    service: str
    name: str
    kind: Kind
    handler: Handler
    counter: CallCounter
    needs: Role = Role.ACT
    """Role that a caller must have."""

    @property
    def path(self) -> str:
        """What stands in a request's `:path`."""
        return f"/{self.service}/{self.name}"
