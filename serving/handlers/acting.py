"""Observations in, actions out, in whatever messages: calls that ask alike are checked, answered and counted as one.

Act and the Open Inference Protocol differ in their messages only; a `Dialect` reads and writes those.
"""

import asyncio
import functools
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, NamedTuple

import numpy as np
from numpy.typing import NDArray

from polserve.serving.access.callers import Visible
from polserve.serving.errors import DROPPED, Expired, PolserveError
from polserve.serving.handlers.base import Quiet, checked_rows, deadline_of, parts_of, reject_unwanted, rows_each
from polserve.serving.handlers.dialect import Asked, CallsAlike, Dialect, F, R
from polserve.serving.handlers.foreseeing import leading_names
from polserve.serving.inference.inference import INLINE_S, Inference, Post, check_epsilon
from polserve.serving.inference.waiting import Question, Result
from polserve.serving.memory import give_back_memory
from polserve.serving.methods import Call
from polserve.serving.policy import Answer, Policy

LARGE_BYTES = 1 << 20
"""A message of this size is decoded in another thread: it would hold up all other calls."""
IN_ONE_BYTES = 1 << 14
"""A message of this size mostly comes in one piece."""
LARGE_ROWS = 1 << 14
"""An answer of so many actions is encoded in another thread."""
TIDY_S = 1.0
"""Time after large work until the memory that it took is given back: once for all of it."""


class Rows(NamedTuple, Generic[F]):
    """The checked observations of calls that ask alike."""

    policy: Policy
    rows: NDArray[Any]  # (n, *shape)
    each: int
    """How many of them are a call's."""
    form: F


Group = tuple[CallsAlike, Visible | None]
"""What calls have in common that are answered as one, and the policies that their callers see."""
Resolve = Callable[[str, str, Visible | None], Policy]
"""Finds a version by the name of its policy and its own, among the policies that the caller sees."""
Waiting = tuple[Call, bytes]
"""A call, and the ending of its response."""


class ActingHandler(Quiet, Generic[R, F]):
    """Answers observations with actions of the live versions."""

    def __init__(self, dialect: Dialect[R, F], resolve: Resolve, inference: Inference, post: Post) -> None:
        """Make a handler: `resolve` finds a version by name, and `post` has the loop's thread call a function."""
        self._dialect = dialect
        self._resolve = resolve
        self._inference = inference
        self._post = post
        self._large = ThreadPoolExecutor(1, thread_name_prefix="large")
        self._is_tidying = False
        self._known = weakref.WeakKeyDictionary[Policy, dict[tuple[F, int], bytes]]()
        """The serialised answer that is one discrete action and nothing else, by policy, form and action."""

    def handle(self, calls: Sequence[Call]) -> None:
        """Answer the calls, those that ask alike together."""
        groups: dict[Group, list[tuple[Call, Asked[R]]]] = {}
        is_crowded = self._inference.is_crowded
        for call in calls:
            if is_crowded and self._is_refused(call):
                continue
            if call.size >= LARGE_BYTES:
                call.wait()
                self._tidy_later()
                self._large.submit(self._decode_large, call)
            elif not reject_unwanted(call):
                self._sort_in(call, groups)
        for (alike, policies), group in groups.items():
            self._answer_alike(alike, policies, group)

    def foresee(self, call: Call, beginning: bytes) -> None:
        """Refuse a call for a version that too much waits for, before the rest of its message is read.

        Raises:
            Overloaded: it would wait for too long.
        """
        if self._inference.is_crowded:
            self._foresee(call, beginning, is_coming=True)

    def _foresee(self, call: Call, beginning: bytes, *, is_coming: bool) -> None:
        names = leading_names(beginning)
        if names is None:
            return
        try:
            policy = self._resolve(*names, call.caller.policies)
        except PolserveError:  # said once the message has come
            return
        self._inference.foresee(policy, deadline_of(call), is_coming=is_coming)

    def read(self, call: Call) -> Asked[R] | None:
        """Read a call's request, on the loop's thread; None where it is answered otherwise. Raises InvalidRequest."""
        return self._dialect.read(call.message)

    def _is_refused(self, call: Call) -> bool:
        """Refuse a call before its message is decoded, where it would wait for too long; return whether it was."""
        if call.size > IN_ONE_BYTES:  # over nghttp2 it was looked at as it began to come
            return False
        try:
            self._foresee(call, call.message, is_coming=False)
        except Exception as error:  # noqa: BLE001 - every error must become a status
            call.fail(error)
        return call.is_over

    def _tidy_later(self) -> None:
        """Have memory given back that the C library would keep; in the thread of the loop."""
        if not self._is_tidying:
            self._is_tidying = True
            asyncio.get_running_loop().call_later(TIDY_S, self._tidy)

    def _tidy(self) -> None:
        self._is_tidying = False
        self._large.submit(give_back_memory)

    def _sort_in(self, call: Call, groups: dict[Group, list[tuple[Call, Asked[R]]]]) -> None:
        try:
            asked = self.read(call)
        except Exception as error:  # noqa: BLE001 - every error must become a status
            call.fail(error)
            return
        if asked is None:
            return
        groups.setdefault((asked.alike, call.caller.policies), []).append((call, asked))

    def _answer_alike(self, alike: CallsAlike, policies: Visible | None, group: list[tuple[Call, Asked[R]]]) -> None:
        try:
            policy = self._resolve(alike.policy, alike.version, policies)
            each = rows_each(policy.observation, alike.dtype, alike.shape, alike.n_bytes)
            is_slow = policy.pace.seconds(each) > INLINE_S  # what waits for long is given up one by one
            rows = checked_rows(policy.observation, [one.data for _, one in group]) if each and not is_slow else None
            if rows is None or policy.memory is not None or alike.has_state:  # each with a state of its own
                self._ask_each(policy, group)
                return
            check_epsilon(policy, alike.epsilon)
            form = self._dialect.form(group[0][1], policy)
            answer = self._inference.answer_at_once(
                policy, rows, with_values=alike.with_values, epsilon=alike.epsilon, n_callers=len(group)
            )
            waiting = [(call, one.ending) for call, one in group]
            if answer is None:
                self._ask_in_parts(alike, waiting, Rows(policy, rows, each, form))
            else:
                self._reply(waiting, each, form, policy, answer)
        except Exception as error:  # noqa: BLE001 - every error must become a status
            for call, _ in group:
                call.fail(error)

    def _ask_in_parts(self, alike: CallsAlike, waiting: Sequence[Waiting], asked: Rows[F]) -> None:
        """Ask for the actions of calls that are alike, as many of them together as one fast run answers."""
        policy, rows, each, form = asked
        questions = []
        for part in parts_of(len(waiting), max(1, self._inference.rows_together(policy) // each)):
            some = waiting[part]
            questions.append(
                Question(
                    policy,
                    rows[part.start * each : part.stop * each],
                    alike.with_values,
                    alike.epsilon,
                    any_wanted([call for call, _ in some]),
                    functools.partial(self._reply, some, each, form, policy),
                    len(some),
                    max(deadline_of(call) for call, _ in some),
                )
            )
        self._inference.ask(questions)

    def _ask_each(self, policy: Policy, group: Sequence[tuple[Call, Asked[R]]]) -> None:
        questions = []
        for call, asked in group:
            call.wait()
            try:
                questions.append(self._question(call, policy, asked))
            except Exception as error:  # noqa: BLE001 - every error must become a status
                call.fail(error)
        self._inference.ask(questions)

    def _question(self, call: Call, policy: Policy, asked: Asked[R]) -> Question:
        """Return what one call asks; raises InvalidRequest."""
        alike, ending = asked.alike, asked.ending
        rows = self._dialect.rows(asked, policy)
        check_epsilon(policy, alike.epsilon)
        form = self._dialect.form(asked, policy)
        call.message = b""  # a large one is not held while the model works

        def react(result: Result) -> None:
            if isinstance(result, Answer) and len(result.actions) >= LARGE_ROWS:
                self._large.submit(self._encode_large, (call, ending), form, policy, result)
            else:
                self._reply([(call, ending)], len(rows), form, policy, result)

        return Question(
            policy, rows, alike.with_values, alike.epsilon, call.is_wanted, react, deadline=deadline_of(call)
        )

    def _decode_large(self, call: Call) -> None:
        """Decode a large message, on a thread of its own, and let the loop go on with it."""
        try:
            if not call.is_wanted():
                raise Expired(DROPPED)  # noqa: TRY301 - one way for all that can go wrong here
            asked = self._dialect.read(call.message)
            call.message = b""
            policy = self._resolve(asked.alike.policy, asked.alike.version, call.caller.policies)
            question = self._question(call, policy, asked)
        except Exception as error:  # noqa: BLE001 - every error must become a status
            self._post(functools.partial(call.fail, error))
        else:
            self._post(functools.partial(self._inference.ask, [question]))

    def _encode_large(self, waiting: Waiting, form: F, policy: Policy, answer: Answer) -> None:
        call, ending = waiting
        try:
            response = self._dialect.encode(form, policy, answer) + ending
        except Exception as error:  # noqa: BLE001 - every error must become a status
            self._post(functools.partial(call.fail, error))
        else:
            self._post(functools.partial(call.reply, response))

    def _reply(self, waiting: Sequence[Waiting], each: int, form: F, policy: Policy, result: Result) -> None:
        """Answer calls that asked for `each` actions alike, and together got `result`."""
        if isinstance(result, Exception):
            for call, _ in waiting:
                call.fail(result)
        elif each == 1 and policy.n_actions and policy.memory is None and _is_plain(result):
            known = self._known.get(policy)
            if known is None:
                known = self._known[policy] = {}
            for (call, ending), action in zip(waiting, result.actions.tolist(), strict=True):
                response = known.get((form, action))
                if response is None:
                    alone = Answer(np.array([action], result.actions.dtype))
                    response = known[form, action] = self._dialect.encode(form, policy, alone)
                call.reply(response + ending)
        else:
            responses = self._dialect.encode_each(form, policy, result, each)
            for (call, ending), response in zip(waiting, responses, strict=True):
                call.reply(response + ending)


def _is_plain(answer: Answer) -> bool:
    """Whether there is nothing but actions to answer."""
    return answer.values is None and answer.explored is None


def any_wanted(calls: Sequence[Call]) -> Callable[[], bool]:
    """Whether somebody still waits for one of the calls."""
    return lambda: any(call.is_wanted() for call in calls)
