"""PolicyService.Act: calls that ask alike are decoded, checked, answered and counted as one."""

import functools
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.tensors import MOST_AXES
from polserve.serving.catalog import Catalog
from polserve.serving.errors import DROPPED, Expired
from polserve.serving.handlers.base import Quiet, checked_rows, parts_of, reject_unwanted, rows_each
from polserve.serving.handlers.codec import AnswerForm, decode_observation, encode_answer, parse
from polserve.serving.inference import INLINE_S, Inference, Post, Question, Result, check_epsilon
from polserve.serving.policy import Answer, Policy
from polserve.serving.rounds import Call

LARGE_BYTES = 1 << 20
"""A message of this size is decoded in another thread: it would hold up all other calls."""
LARGE_ROWS = 1 << 14
"""An answer of so many actions is encoded in another thread."""
TOO_MANY_AXES = (-1,)
"""Stand-in for a shape that no array has, and that may be too long to copy."""
ONE_OBSERVATION = AnswerForm(as_values=False, is_batch=False)


class CallsAlike(NamedTuple):
    """What calls have in common that can be answered as one."""

    policy: str
    version: str
    with_values: bool
    epsilon: float
    dtype: int
    shape: tuple[int, ...]
    n_bytes: int
    has_state: bool


Asked = tuple[Call, pb.ActRequest, bytes]
"""A call, its request, and the observation's data."""


class Rows(NamedTuple):
    """The checked observations of calls that ask alike."""

    policy: Policy
    rows: NDArray[Any]  # (n, *shape)
    each: int
    """How many of them are a call's."""
    form: AnswerForm


class ActHandler(Quiet):
    """Answers observations with actions of the live versions."""

    def __init__(self, catalog: Catalog, inference: Inference, post: Post) -> None:
        """`post` has a function called by the loop's thread."""
        self._catalog = catalog
        self._inference = inference
        self._post = post
        self._large = ThreadPoolExecutor(1, thread_name_prefix="large")
        self._known = weakref.WeakKeyDictionary[Policy, dict[int, bytes]]()
        """The serialised answer that is one discrete action and nothing else, by policy and action."""

    def handle(self, calls: Sequence[Call]) -> None:
        """Answer the calls, those that ask alike together."""
        groups: dict[CallsAlike, list[Asked]] = {}
        for call in calls:
            if call.size >= LARGE_BYTES:
                call.wait()
                self._large.submit(self._decode_large, call)
            elif not reject_unwanted(call):
                self._sort_in(call, groups)
        for alike, group in groups.items():
            self._answer_alike(alike, group)

    @staticmethod
    def _sort_in(call: Call, groups: dict[CallsAlike, list[Asked]]) -> None:
        try:
            request = parse(pb.ActRequest, call.message)
        except Exception as error:  # noqa: BLE001 - every error must become a status
            call.fail(error)
            return
        tensor = request.observation
        data = tensor.data  # NOTE: each look at the field is a copy of it
        shape = tensor.shape
        alike = CallsAlike(
            request.policy,
            request.version,
            request.with_values,
            request.epsilon,
            tensor.dtype,
            tuple(shape) if len(shape) <= MOST_AXES else TOO_MANY_AXES,
            len(data),
            bool(request.state),
        )
        groups.setdefault(alike, []).append((call, request, data))

    def _answer_alike(self, alike: CallsAlike, group: list[Asked]) -> None:
        try:
            policy = self._catalog.resolve(alike.policy, alike.version)
            each = rows_each(policy.observation, alike.dtype, alike.shape, alike.n_bytes)
            is_slow = policy.pace.seconds(each) > INLINE_S  # what waits for long is given up one by one
            rows = checked_rows(policy.observation, [data for _, _, data in group]) if each and not is_slow else None
            if rows is None or policy.memory is not None or alike.has_state:  # each with a state of its own
                self._ask_each(policy, group)
                return
            check_epsilon(policy, alike.epsilon)
            answer = self._inference.answer_at_once(
                policy, rows, with_values=alike.with_values, epsilon=alike.epsilon, n_callers=len(group)
            )
            form = AnswerForm(as_values=False, is_batch=len(alike.shape) > len(policy.observation.shape))
            if answer is None:
                self._ask_in_parts(alike, group, Rows(policy, rows, each, form))
            else:
                self._reply([call for call, _, _ in group], each, form, policy, answer)
        except Exception as error:  # noqa: BLE001 - every error must become a status
            for call, _, _ in group:
                call.fail(error)

    def _ask_in_parts(self, alike: CallsAlike, group: list[Asked], asked: Rows) -> None:
        """Ask for the actions of calls that are alike, as many of them together as one fast run answers."""
        policy, rows, each, form = asked
        questions = []
        for part in parts_of(len(group), max(1, self._inference.rows_together(policy) // each)):
            calls = [call for call, _, _ in group[part]]
            questions.append(
                Question(
                    policy,
                    rows[part.start * each : part.stop * each],
                    alike.with_values,
                    alike.epsilon,
                    any_wanted(calls),
                    functools.partial(self._reply, calls, each, form, policy),
                    len(calls),
                )
            )
        self._inference.ask(questions)

    def _ask_each(self, policy: Policy, group: Sequence[Asked]) -> None:
        questions = []
        for call, request, _ in group:
            call.wait()
            try:
                questions.append(self._question(call, policy, request))
            except Exception as error:  # noqa: BLE001 - every error must become a status
                call.fail(error)
        self._inference.ask(questions)

    def _question(self, call: Call, policy: Policy, request: pb.ActRequest) -> Question:
        """Return what one call asks; raises InvalidRequest."""
        observations = policy.remembering(decode_observation(request, policy.observation), request.state)
        check_epsilon(policy, request.epsilon)
        form = AnswerForm.of(request.observation, policy.observation)
        call.message = b""  # a large one is not held while the model works

        def react(result: Result) -> None:
            if isinstance(result, Answer) and len(result.actions) >= LARGE_ROWS:
                self._large.submit(self._encode_large, call, form, policy, result)
            else:
                self._reply([call], len(observations), form, policy, result)

        return Question(policy, observations, request.with_values, request.epsilon, call.is_wanted, react)

    def _decode_large(self, call: Call) -> None:
        """Decode a large message, on a thread of its own, and let the loop go on with it."""
        try:
            if not call.is_wanted():
                raise Expired(DROPPED)  # noqa: TRY301 - one way for all that can go wrong here
            request = parse(pb.ActRequest, call.message)
            call.message = b""
            question = self._question(call, self._catalog.resolve(request.policy, request.version), request)
        except Exception as error:  # noqa: BLE001 - every error must become a status
            self._post(functools.partial(call.fail, error))
        else:
            self._post(functools.partial(self._inference.ask, [question]))

    def _encode_large(self, call: Call, form: AnswerForm, policy: Policy, answer: Answer) -> None:
        try:
            response = encode_answer(form, policy, answer).SerializeToString()
        except Exception as error:  # noqa: BLE001 - every error must become a status
            self._post(functools.partial(call.fail, error))
        else:
            self._post(functools.partial(call.reply, response))

    def _reply(self, calls: Sequence[Call], each: int, form: AnswerForm, policy: Policy, result: Result) -> None:
        """Answer calls that asked for `each` actions alike, and together got `result`."""
        if isinstance(result, Exception):
            for call in calls:
                call.fail(result)
        elif form == ONE_OBSERVATION and policy.n_actions and policy.memory is None and _is_plain(result):
            known = self._known.get(policy)
            if known is None:
                known = self._known[policy] = {}
            for call, action in zip(calls, result.actions.tolist(), strict=True):
                if action not in known:
                    alone = Answer(np.array([action], result.actions.dtype))
                    known[action] = encode_answer(form, policy, alone).SerializeToString()
                call.reply(known[action])
        else:
            for i, call in enumerate(calls):
                part = slice(i * each, (i + 1) * each)
                call.reply(encode_answer(form, policy, _part(result, part)).SerializeToString())


def _part(answer: Answer, part: slice) -> Answer:
    values = None if answer.values is None else answer.values[part]
    explored = None if answer.explored is None else answer.explored[part]
    memories = None if answer.memories is None else answer.memories[part]
    return Answer(answer.actions[part], values, explored, memories)


def _is_plain(answer: Answer) -> bool:
    """Whether there is nothing but actions to answer."""
    return answer.values is None and answer.explored is None


def any_wanted(calls: Sequence[Call]) -> Callable[[], bool]:
    """Whether somebody still waits for one of the calls."""
    return lambda: any(call.is_wanted() for call in calls)
