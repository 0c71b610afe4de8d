"""Act from bytes to bytes, whatever carries them: a thread of the public server, or the completion loop."""

import threading
from collections.abc import Sequence
from typing import Protocol

import grpc

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.serving.answering import Explored, Question, Responder, check_epsilon
from polserve.serving.errors import DROPPED, Expired
from polserve.serving.grpc.codec import AnswerForm, decode_observation, encode_answer, parse
from polserve.serving.grpc.statuses import Status, status_of


class Call(Protocol):
    """One Act that was received and not answered yet."""

    message: bytes
    """The serialised ActRequest; empty once it was decoded."""

    def is_wanted(self) -> bool:
        """Whether somebody still waits: the deadline has not passed, and the client has not gone."""

    def reply(self, response: bytes) -> None:
        """Answer with a serialised ActResponse."""

    def fail(self, status: Status) -> None:
        """End with a status other than OK."""


class ActHandler:
    """Answers calls."""

    def __init__(self, responder: Responder) -> None:
        self._responder = responder

    def handle(self, calls: Sequence[Call]) -> None:
        """All of the calls, which wait at the same moment, are answered; now or later from the inference thread."""
        questions = [self._question(call) for call in calls]
        self._responder.answer([question for question in questions if question is not None])

    def handle_one(self, call: Call) -> None:
        """A call is answered, which one of several threads brings."""
        question = self._question(call)
        if question is not None:
            self._responder.ask(question)

    def _question(self, call: Call) -> Question | None:
        """What the call asks; None if it has ended, since it cannot be answered."""
        try:
            return self._decode(call)
        except Exception as error:  # noqa: BLE001 - every error must become a status
            call.fail(status_of(error))
            return None

    def _decode(self, call: Call) -> Question:
        if not call.is_wanted():
            raise Expired(DROPPED)
        request = parse(pb.ActRequest, call.message)
        policy = self._responder.resolve(request.policy, request.version)
        observations = decode_observation(request, policy.observation)
        check_epsilon(policy, request.epsilon)
        form = AnswerForm.of(request.observation, policy.observation)
        call.message = b""  # a large one is not held while the model works

        def react(outcome: Explored | Exception) -> None:
            if isinstance(outcome, Exception):
                call.fail(status_of(outcome))
                return
            try:
                response = encode_answer(form, policy, outcome).SerializeToString()
            except Exception as error:  # noqa: BLE001 - whoever waits must be told, whatever it was
                call.fail(status_of(error))
            else:
                call.reply(response)

        return Question(policy, observations, request.with_values, request.epsilon, call.is_wanted, react)


class ThreadCall:
    """A call that a thread of the public server waits for."""

    def __init__(self, message: bytes, context: grpc.ServicerContext) -> None:
        self.message = message
        self._context = context
        self._answered = threading.Event()
        self._outcome: bytes | Status = b""

    def is_wanted(self) -> bool:
        """Whether somebody still waits."""
        remaining_s = self._context.time_remaining()
        return self._context.is_active() and (remaining_s is None or remaining_s > 0)

    def reply(self, response: bytes) -> None:
        """Let the thread answer."""
        self._outcome = response
        self._answered.set()

    def fail(self, status: Status) -> None:
        """Let the thread end the call."""
        self._outcome = status
        self._answered.set()

    def wait(self) -> bytes:
        """The response; a failure ends the call by raising what gRPC raises."""
        self._answered.wait()
        if isinstance(self._outcome, Status):
            abort(self._context, self._outcome)
        assert isinstance(self._outcome, bytes)  # noqa: S101 - abort has raised
        return self._outcome


def abort(context: grpc.ServicerContext, status: Status) -> None:
    """End the call of `context` with `status`, by raising what gRPC raises."""
    if status.trailing_metadata:
        context.set_trailing_metadata(status.trailing_metadata)
    context.abort(status.code, status.details)
