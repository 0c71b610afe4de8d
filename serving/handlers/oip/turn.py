"""A request on a stream of the Open Inference Protocol, as a call of its own: its errors leave the stream open."""

from typing import Any

from polserve.protos.polserve.oip.v2 import inference_pb2 as pb
from polserve.serving.access.callers import Caller
from polserve.serving.errors import InvalidRequest, NotReady, Overloaded, UnknownPolicy, UnknownVersion
from polserve.serving.handlers.oip.wire import INFER_RESPONSE, field_head
from polserve.serving.request_ids import RequestId
from polserve.serving.rounds import Call, Method
from polserve.serving.statuses import status_of

IN_BAND = (InvalidRequest, NotReady, Overloaded, UnknownPolicy, UnknownVersion)
"""Errors of one request; by any other the stream ends."""


class Turn:
    """A request on a stream, as handlers of unary calls see it."""

    def __init__(self, stream: Call) -> None:
        self._stream = stream
        self.state: Any = None

    @property
    def method(self) -> Method:
        """What is called."""
        return self._stream.method

    @property
    def message(self) -> bytes:
        """The request; raises what keeps it from being read."""
        return self._stream.message

    @message.setter
    def message(self, message: bytes) -> None:
        self._stream.message = message

    @property
    def size(self) -> int:
        """Bytes of the request."""
        return self._stream.size

    @size.setter
    def size(self, size: int) -> None:
        self._stream.size = size

    @property
    def is_over(self) -> bool:
        """Whether the stream has ended."""
        return self._stream.is_over

    @is_over.setter
    def is_over(self, is_over: bool) -> None:
        self._stream.is_over = is_over

    @property
    def deadline(self) -> float | None:
        """Time at which the stream expires; it says nothing of this request."""
        return None

    @property
    def active_at(self) -> float:
        """When the client last sent or was sent something."""
        return self._stream.active_at

    @active_at.setter
    def active_at(self, active_at: float) -> None:
        self._stream.active_at = active_at

    @property
    def caller(self) -> Caller:
        """Who calls."""
        return self._stream.caller

    @caller.setter
    def caller(self, caller: Caller) -> None:
        self._stream.caller = caller

    @property
    def request_id(self) -> RequestId:
        """What the stream is called."""
        return self._stream.request_id

    @request_id.setter
    def request_id(self, request_id: RequestId) -> None:
        self._stream.request_id = request_id

    def is_wanted(self) -> bool:
        """Whether somebody still waits."""
        return self._stream.is_wanted()

    def reply(self, response: bytes) -> None:
        """Send a serialised ModelInferResponse."""
        self._stream.reply(field_head(INFER_RESPONSE, len(response)) + response)

    def fail(self, error: BaseException) -> None:
        """Say in a response why there is no other; an error that is not the request's own ends the stream."""
        if isinstance(error, IN_BAND):
            said = pb.ModelStreamInferResponse(error_message=status_of(error, self.request_id).details)
            self._stream.reply(said.SerializeToString())
        else:
            self._stream.fail(error)

    def finish(self) -> None:
        """Only streams are finished without an answer."""
        raise AssertionError(self.method.name)

    def wait(self) -> None:
        """Do nothing: the stream ends at its deadline by itself."""
