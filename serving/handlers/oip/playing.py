"""The requests of sequences: what each asks the model, and how it is answered."""

import functools
from collections.abc import Mapping
from typing import NamedTuple

from polserve.protos.polserve.oip.v2 import inference_pb2 as pb
from polserve.protos.shared.names import OBSERVATION
from polserve.serving.episodes import EpisodeCounter
from polserve.serving.handlers.acting import Resolve
from polserve.serving.handlers.oip.dialect import InferDialect, InferForm, read_inputs
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
)
from polserve.serving.handlers.oip.sequences import Key, Sequence, Sequences
from polserve.serving.inference.inference import check_epsilon
from polserve.serving.inference.waiting import Question, Result
from polserve.serving.methods import Call

EPISODE_RETURN = "episode_return"
"""Parameter of the response that ends a sequence: the sum of the rewards, if any was reported."""


class Asking(NamedTuple):
    """A request of a sequence, and where its answer goes."""

    call: Call
    sequences: Sequences
    sequence: Sequence
    is_end: bool
    is_truncated: bool


class SequencePlayer:
    """Plays the episodes that sequences are."""

    def __init__(self, dialect: InferDialect, resolve: Resolve, counter: EpisodeCounter) -> None:
        """`resolve` finds the version that a sequence begins with; `counter` counts those that have ended."""
        self.dialect = dialect
        self._resolve = resolve
        self._counter = counter

    def play(
        self, call: Call, sequences: Sequences, request: pb.ModelInferRequest, parameters: Mapping[str, Value]
    ) -> Question | None:
        """Return what a request of a sequence asks the model; None if it was answered.

        Raises:
            InvalidRequest: it says something that cannot be.
        """
        asking = self._asking(call, sequences, request, parameters)
        try:
            return self._question(asking, request, parameters)
        except Exception:
            if asking.sequence.episode.step == 0:  # a start that is refused begins nothing
                sequences.end(asking.sequence)
            raise

    def _question(
        self, asking: Asking, request: pb.ModelInferRequest, parameters: Mapping[str, Value]
    ) -> Question | None:
        """Return what a request of an open sequence asks the model; None if it was answered."""
        episode, reward = asking.sequence.episode, number(parameters, REWARD)
        if asking.is_end and not request.inputs:  # there is nothing more to see
            if reward is not None:
                episode.reward(reward)
            self._end(asking, pb.ModelInferResponse(id=request.id).SerializeToString())
            return None
        policy = asking.sequence.policy
        asked = self.dialect.asked(request, {EPSILON: episode.epsilon, **parameters})
        observation = episode.contract.check(read_inputs(request, (OBSERVATION,))[OBSERVATION])
        check_epsilon(policy, asked.alike.epsilon)
        n_axes = len(request.inputs[0].shape)
        form = self.dialect.form(asked, policy)._replace(is_batch=n_axes > len(episode.contract.shape))
        if reward is not None and len(observation) == 1:  # so that nothing is counted of a request that is refused
            episode.reward(reward)
        episode.epsilon = asked.alike.epsilon
        rows = episode.remember(episode.observe(observation))
        asking.sequence.is_busy = True
        react = functools.partial(self._react, asking, form, asked.ending)
        is_wanted = asking.call.is_wanted
        return Question(policy, rows, asked.alike.with_values, episode.epsilon, is_wanted, react, is_step=True)

    def _asking(
        self, call: Call, sequences: Sequences, request: pb.ModelInferRequest, parameters: Mapping[str, Value]
    ) -> Asking:
        """Return what a request says of its sequence, which it may begin."""
        given = parameters[SEQUENCE_ID]
        key = Key(request.model_name, given if isinstance(given, str) else int(given))
        is_end, is_truncated = flag(parameters, SEQUENCE_END), flag(parameters, TRUNCATED)
        policies = call.caller.policies
        # NOTE: a caller may have been shut out of a policy since the sequence began: that is refused as at its start.
        if flag(parameters, SEQUENCE_START) or not (policies is None or policies.sees(request.model_name)):
            policy = self._resolve(request.model_name, request.model_version, policies)
            sequence = sequences.begin(key, policy)
        else:
            sequence = sequences.find(key, request.model_version)
        return Asking(call, sequences, sequence, is_end, is_truncated)

    def _react(self, asking: Asking, form: InferForm, ending: bytes, result: Result) -> None:
        """Answer a request."""
        sequence = asking.sequence
        sequence.is_busy = False
        if isinstance(result, Exception):
            asking.call.fail(result)
            return
        sequence.episode.memories = result.memories
        response = self.dialect.encode(form, sequence.policy, result) + ending
        if asking.is_end:
            self._end(asking, response)
        else:
            asking.call.reply(response)

    def _end(self, asking: Asking, response: bytes) -> None:
        """Answer the last request of a sequence, count its episode and forget it."""
        episode, policy = asking.sequence.episode, asking.sequence.policy
        if episode.step:
            self._counter.count_episode(policy, episode.episode_return, is_truncated=asking.is_truncated)
        asking.sequences.end(asking.sequence)
        ended = pb.ModelInferResponse(model_name=policy.name, model_version=policy.version)
        if episode.episode_return is not None:
            ended.parameters[EPISODE_RETURN].double_param = episode.episode_return
        asking.call.reply(response + ended.SerializeToString())
        asking.sequences.let_go()
