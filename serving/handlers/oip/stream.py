"""ModelStreamInfer: requests in turn; those with a sequence id play episodes, whose state is kept here."""

import functools
from collections.abc import Mapping
from collections.abc import Sequence as ManyOf
from typing import NamedTuple

from polserve.protos.polserve.oip.v2 import inference_pb2 as pb
from polserve.protos.shared.names import OBSERVATION
from polserve.serving.episodes import DRAINING, EpisodeCounter, OpenStreams
from polserve.serving.errors import InvalidRequest, NotReady
from polserve.serving.handlers.codec import parse
from polserve.serving.handlers.oip.infer import InferDialect, InferForm, InferHandler, read_inputs
from polserve.serving.handlers.oip.parameters import (
    EPSILON,
    REWARD,
    SEQUENCE_END,
    SEQUENCE_ID,
    SEQUENCE_START,
    TRUNCATED,
    Value,
    flag,
    number,
    read_parameters,
    sequence_id,
)
from polserve.serving.handlers.oip.sequences import Key, Sequence, Sequences
from polserve.serving.handlers.oip.turn import Turn
from polserve.serving.inference import Inference, Question, Result, check_epsilon
from polserve.serving.rounds import Call

EPISODE_RETURN = "episode_return"
"""Parameter of the response that ends a sequence: the sum of the rewards, if any was reported."""


class Ends(NamedTuple):
    """What a request says of the end of its sequence."""

    is_end: bool
    is_truncated: bool


class StreamInferHandler:
    """Answers the requests of streams; a request that is refused leaves its stream open."""

    def __init__(
        self,
        infer: InferHandler,
        dialect: InferDialect,
        inference: Inference,
        streams: OpenStreams,
        counter: EpisodeCounter,
    ) -> None:
        """`infer` answers the requests that belong to no sequence."""
        self._infer = infer
        self._dialect = dialect
        self._inference = inference
        self._streams = streams
        self._counter = counter
        self._sequences: dict[Call, Sequences] = {}

    def open(self, call: Call) -> None:
        """Let a stream begin; raises where there are too many."""
        self._streams.open(call)
        self._sequences[call] = Sequences(call, self._streams)

    def half_close(self, call: Call) -> None:
        """End a stream when its client does."""
        call.finish()

    def close(self, call: Call) -> None:
        """Forget the stream, and its sequences."""
        sequences = self._sequences.pop(call, None)
        if sequences is not None:
            sequences.end_all()
        self._streams.close(call)

    def handle(self, calls: ManyOf[Call]) -> None:
        """Answer one request of each stream, those of sequences together, and the others together."""
        alone: list[Turn] = []
        questions: list[Question] = []
        for call in calls:
            turn = Turn(call)
            try:
                request = parse(pb.ModelInferRequest, call.message)
                parameters = read_parameters(request.parameters) if request.parameters else {}
                key = sequence_id(parameters) if parameters else None
                if key is None:
                    check_alone(parameters)
                    alone.append(turn)
                    continue
                question = self._step(call, turn, key, request, parameters)
            except Exception as error:  # noqa: BLE001 - every error must become a response or a status
                turn.fail(error)
                continue
            if question is not None:
                questions.append(question)
        if alone:
            self._infer.handle(alone)
        if questions:
            self._inference.ask(questions)

    def _step(
        self, call: Call, turn: Turn, key: Key, request: pb.ModelInferRequest, parameters: dict[str, Value]
    ) -> Question | None:
        """Return what a request of a sequence asks the model; None if it was answered."""
        ends = Ends(flag(parameters, SEQUENCE_END), flag(parameters, TRUNCATED))
        reward = number(parameters, REWARD)
        sequence = self._sequence(call, key, request, is_start=flag(parameters, SEQUENCE_START))
        episode, policy = sequence.episode, sequence.policy
        if ends.is_end and not request.inputs:  # there is nothing more to see
            if reward is not None:
                episode.reward(reward)
            self._end(call, turn, sequence, ends, pb.ModelInferResponse(id=request.id).SerializeToString())
            return None
        parameters.setdefault(EPSILON, episode.epsilon)
        asked = self._dialect.asked(request, parameters)
        observation = episode.contract.check(read_inputs(request, (OBSERVATION,))[OBSERVATION])
        check_epsilon(policy, asked.alike.epsilon)
        n_axes = len(request.inputs[0].shape)
        form = self._dialect.form(asked, policy)._replace(is_batch=n_axes > len(episode.contract.shape))
        if reward is not None and len(observation) == 1:  # so that nothing is counted of a request that is refused
            episode.reward(reward)
        episode.epsilon = asked.alike.epsilon
        rows = episode.remember(episode.observe(observation))
        react = functools.partial(self._react, call, turn, sequence, Answering(form, asked.ending, ends))
        return Question(policy, rows, asked.alike.with_values, episode.epsilon, call.is_wanted, react)

    def _sequence(self, call: Call, key: Key, request: pb.ModelInferRequest, *, is_start: bool) -> Sequence:
        """Return the sequence that a request belongs to, which it may begin."""
        sequences = self._sequences[call]
        if not is_start:
            return sequences.find(key, request.model_name, request.model_version)
        policy = self._infer.resolve(request.model_name, request.model_version, call.caller.policies)
        return sequences.begin(key, policy)

    def _react(self, call: Call, turn: Turn, sequence: Sequence, answering: "Answering", result: Result) -> None:
        """Answer a request of a sequence."""
        if isinstance(result, Exception):
            turn.fail(result)
            return
        sequence.episode.memories = result.memories
        form, ending, ends = answering
        response = self._dialect.encode(form, sequence.policy, result) + ending
        if ends.is_end:
            self._end(call, turn, sequence, ends, response)
        else:
            turn.reply(response)

    def _end(self, call: Call, turn: Turn, sequence: Sequence, ends: Ends, response: bytes) -> None:
        """Answer the last request of a sequence, count its episode and forget it."""
        episode, policy = sequence.episode, sequence.policy
        if episode.step:
            self._counter.count_episode(policy, episode.episode_return, is_truncated=ends.is_truncated)
        sequences = self._sequences.get(call)
        if sequences is not None:
            sequences.end(sequence.key)
        ended = pb.ModelInferResponse(model_name=policy.name, model_version=policy.version)
        if episode.episode_return is not None:
            ended.parameters[EPISODE_RETURN].double_param = episode.episode_return
        turn.reply(response + ended.SerializeToString())
        if self._streams.is_draining and call.state is None:
            call.fail(NotReady(DRAINING))


class Answering(NamedTuple):
    """How a request of a sequence is answered."""

    form: InferForm
    ending: bytes
    ends: Ends


def check_alone(parameters: Mapping[str, Value]) -> None:
    """Return if a request without a sequence says nothing of one; raises InvalidRequest."""
    for name in (SEQUENCE_START, SEQUENCE_END, REWARD, TRUNCATED):
        if parameters.get(name):
            expected = f"an id of a sequence, a number other than 0 or a text, with {name}"
            raise InvalidRequest(f"parameters.{SEQUENCE_ID}", expected, repr(parameters.get(SEQUENCE_ID))[:80])
