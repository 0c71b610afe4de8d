"""PolicyService.Act: its messages, for the handler that answers observations with actions."""

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.tensors import MOST_AXES
from polserve.serving.catalog import Catalog
from polserve.serving.handlers.acting import ActingHandler
from polserve.serving.handlers.codec import AnswerForm, decode_observation, encode_answer, parse
from polserve.serving.handlers.dialect import TOO_MANY_AXES, Asked, CallsAlike, cut_answer
from polserve.serving.inference.inference import Inference, Post
from polserve.serving.policy import Answer, Policy


class ActDialect:
    """ActRequest and ActResponse."""

    def read(self, message: bytes) -> Asked[pb.ActRequest]:
        """Read a request; raises InvalidRequest."""
        request = parse(pb.ActRequest, message)
        tensor = request.observation
        data = tensor.data  # NOTE: each look at the field is a copy of it
        shape = tensor.shape
        alike = CallsAlike(
            request.policy,
            request.version,
            request.with_values,
            request.epsilon,
            tensor.dtype,
            tuple(shape[:]) if len(shape) <= MOST_AXES else TOO_MANY_AXES,  # faster than without the slice
            len(data),
            bool(request.state),
        )
        return Asked(alike, request, data)

    def rows(self, asked: Asked[pb.ActRequest], policy: Policy) -> NDArray[Any]:
        """Return its observations as the policy takes them; raises InvalidRequest."""
        observations = decode_observation(asked.request, policy.observation, asked.data)
        return policy.remembering(observations, asked.request.state)

    def form(self, asked: Asked[pb.ActRequest], policy: Policy) -> AnswerForm:
        """Return the form of its answer."""
        return AnswerForm.of(asked.request.observation, policy.observation)

    def encode(self, form: AnswerForm, policy: Policy, answer: Answer) -> bytes:
        """Serialise an answer."""
        return encode_answer(form, policy, answer).SerializeToString()

    def encode_each(self, form: AnswerForm, policy: Policy, answer: Answer, each: int) -> Iterator[bytes]:
        """Serialise the answers of several calls, each to so many observations of those that `answer` is to."""
        return (self.encode(form, policy, part) for part in cut_answer(answer, each))


class ActHandler(ActingHandler[pb.ActRequest, AnswerForm]):
    """Answers ActRequests."""

    def __init__(self, catalog: Catalog, inference: Inference, post: Post) -> None:
        """`post` has a function called by the loop's thread."""
        super().__init__(ActDialect(), catalog.resolve, inference, post)
