"""A request on a stream of the Open Inference Protocol, as a call of its own: its errors leave the stream open."""

from polserve.protos.polserve.oip.v2 import inference_pb2 as pb
from polserve.serving.errors import InvalidRequest, NotReady, Overloaded, UnknownPolicy, UnknownVersion
from polserve.serving.handlers.oip.wire import INFER_RESPONSE, field_head
from polserve.serving.handlers.passed import PassedCall
from polserve.serving.statuses import status_of

IN_BAND = (InvalidRequest, NotReady, Overloaded, UnknownPolicy, UnknownVersion)
"""Errors of one request; by any other the stream ends."""


class Turn(PassedCall):
    """A request on a stream, as handlers of unary calls see it."""

    @property
    def deadline(self) -> float | None:
        """Time at which the stream expires; it says nothing of this request."""
        return None

    def reply(self, response: bytes) -> None:
        """Send a serialised ModelInferResponse."""
        self._call.reply(field_head(INFER_RESPONSE, len(response)) + response)

    def fail(self, error: BaseException) -> None:
        """Say in a response why there is no other; an error that is not the request's own ends the stream."""
        if isinstance(error, IN_BAND):
            said = pb.ModelStreamInferResponse(error_message=status_of(error, self.request_id).details)
            self._call.reply(said.SerializeToString())
        else:
            self._call.fail(error)

    def finish(self) -> None:
        """Only streams are finished without an answer."""
        raise AssertionError(self.method.name)

    def wait(self) -> None:
        """Do nothing: the stream ends at its deadline by itself."""
