"""PolicyService.Episode: state machines without threads, whose steps go to the model together."""

import functools
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.tensors import MOST_AXES
from polserve.serving.catalog import Catalog
from polserve.serving.episodes import DRAINING, EpisodeCounter, EpisodeState, OpenStreams, state_bytes
from polserve.serving.errors import InvalidRequest, NotReady
from polserve.serving.handlers.acting import any_wanted
from polserve.serving.handlers.base import checked_rows, parts_of, rows_each
from polserve.serving.handlers.codec import decode_observation, encode_step, has_values_form, parse
from polserve.serving.handlers.dialect import TOO_MANY_AXES
from polserve.serving.handlers.slots import SlotsState, end_slots, reply_slots, take_slots
from polserve.serving.inference.inference import Inference, check_epsilon
from polserve.serving.inference.waiting import Question, Result
from polserve.serving.methods import Call
from polserve.serving.policy import Answer, Policy

NO_KIND = "start, step or end"


class StepsAlike(NamedTuple):
    """What steps have in common that can be answered as one."""

    policy: Policy
    with_values: bool
    epsilon: float
    dtype: int
    shape: tuple[int, ...]
    n_bytes: int


class Step(NamedTuple):
    """An observation of an episode, which waits for an action."""

    call: Call
    episode: EpisodeState
    request: pb.EpisodeStart | pb.EpisodeStep
    data: bytes


class EpisodeHandler:
    """Plays episodes on streams; every request gets one response, in order."""

    def __init__(self, catalog: Catalog, inference: Inference, streams: OpenStreams, counter: EpisodeCounter) -> None:
        self._catalog = catalog
        self._inference = inference
        self._streams = streams
        self._counter = counter
        self._known = weakref.WeakKeyDictionary[Policy, dict[int, bytes]]()
        """A serialised response with one discrete action and no step, by policy and action."""

    def open(self, call: Call) -> None:
        """Let a stream begin; raises where there are too many."""
        self._streams.open(call)

    def half_close(self, call: Call) -> None:
        """End a stream when its client does."""
        call.finish()

    def close(self, call: Call) -> None:
        """Forget the stream."""
        self._streams.close(call)

    def handle(self, calls: Sequence[Call]) -> None:
        """Answer one message of each stream, the steps among them together."""
        groups: dict[StepsAlike, list[Step]] = {}
        for call in calls:
            try:
                step = self._take(call)
            except Exception as error:  # noqa: BLE001 - every error must become a status
                call.fail(error)
                continue
            if step is not None:
                groups.setdefault(_alike(step), []).append(step)
        for alike, steps in groups.items():
            self._act(alike, steps)

    def _take(self, call: Call) -> Step | None:
        """Return what the call's message asks the model; None if it was answered."""
        if self._streams.is_draining and call.state is None:
            raise NotReady(DRAINING)
        request = parse(pb.EpisodeRequest, call.message)
        kind = request.WhichOneof("message")
        if isinstance(call.state, SlotsState) and kind != "start":
            self._take_for_slots(call, call.state, request, kind)
            return None
        match kind:
            case "step":
                episode, step = _current(call, "step"), request.step
                _check_lone(step)
                if step.HasField("reward"):
                    episode.reward(step.reward)
                return Step(call, episode, step, step.observation.data)
            case "start":
                return self._start(call, request.start)
            case "end":
                self._end(call, _current(call, "end"), request.end)
                return None
            case _:
                raise InvalidRequest("message", NO_KIND, "none of them")

    def _take_for_slots(self, call: Call, state: SlotsState, request: pb.EpisodeRequest, kind: str | None) -> None:
        """Answer a message that speaks for all slots of a group."""
        if kind == "step":
            self._act_for_slots(call, state, request.step)
            return
        if kind is None:
            raise InvalidRequest("message", NO_KIND, "none of them")
        response = end_slots(state, request.end, self._counter)
        call.state = None
        self._streams.hold(call, 1, 0)
        call.reply(response.SerializeToString())
        if self._streams.is_draining:
            call.fail(NotReady(DRAINING))

    def _act_for_slots(self, call: Call, state: SlotsState, request: pb.EpisodeStart | pb.EpisodeStep) -> None:
        policy, with_values, epsilon = state.policy, state.with_values, state.epsilon
        rows, over = take_slots(state, request, self._counter)
        as_values = has_values_form(request.observation)
        answer = self._inference.answer_at_once(policy, rows, with_values=with_values, epsilon=epsilon)
        if answer is not None:
            reply_slots(call, state, over, as_values, answer)
            return
        react = functools.partial(reply_slots, call, state, over, as_values)
        self._inference.ask([Question(policy, rows, with_values, epsilon, call.is_wanted, react, is_step=True)])

    def _start(self, call: Call, start: pb.EpisodeStart) -> Step | None:
        policy = self._catalog.resolve(start.policy, start.version, call.caller.policies)
        check_epsilon(policy, start.epsilon)
        if start.slots:
            state = SlotsState(policy, start.slots, with_values=start.with_values, epsilon=start.epsilon)
            self._streams.hold(call, state.n, state.n * state_bytes(policy))
            call.state = state
            if start.HasField("observation"):
                self._act_for_slots(call, state, start)
            else:
                call.reply(pb.EpisodeResponse(policy=policy.name, version=policy.version).SerializeToString())
            return None
        self._streams.hold(call, 1, state_bytes(policy))
        call.state = episode = EpisodeState(policy, with_values=start.with_values, epsilon=start.epsilon)
        if start.HasField("observation"):
            return Step(call, episode, start, start.observation.data)
        call.reply(pb.EpisodeResponse(policy=policy.name, version=policy.version).SerializeToString())
        return None

    def _end(self, call: Call, episode: EpisodeState, end: pb.EpisodeEnd) -> None:
        _check_lone(end)
        if end.HasField("reward"):
            episode.reward(end.reward)
        call.state = None
        self._streams.hold(call, 1, 0)
        policy, episode_return = episode.policy, episode.episode_return
        self._counter.count_episode(policy, episode_return, is_truncated=end.truncated)
        response = pb.EpisodeResponse(
            policy=policy.name, version=policy.version, step=episode.step, episode_return=episode_return
        )
        call.reply(response.SerializeToString())
        if self._streams.is_draining:
            call.fail(NotReady(DRAINING))

    def _act(self, alike: StepsAlike, steps: list[Step]) -> None:
        """Ask for the actions of steps that are alike."""
        contract = steps[0].episode.contract
        batch = None
        if rows_each(contract, alike.dtype, alike.shape, alike.n_bytes) == 1:
            batch = checked_rows(contract, [step.data for step in steps])
        if batch is None:  # one of them is wrong, or in the form for people
            for step in steps:
                self._act_alone(alike, step)
            return
        rows = batch
        if contract is not alike.policy.observation:  # of frames
            stacks = [step.episode.observe(batch[i : i + 1]) for i, step in enumerate(steps)]
            rows = stacks[0] if len(stacks) == 1 else np.concatenate(stacks)
        else:
            for step in steps:
                step.episode.step += 1
        if alike.policy.memory is not None:
            rows = np.concatenate([step.episode.remember(rows[i : i + 1]) for i, step in enumerate(steps)])
        self._ask(alike, steps, rows)

    def _ask(self, alike: StepsAlike, steps: list[Step], rows: NDArray[Any]) -> None:
        """Answer steps at once where one fast run does, else have them wait for the model."""
        policy = alike.policy
        try:
            answer = self._inference.answer_at_once(
                policy, rows, with_values=alike.with_values, epsilon=alike.epsilon, n_callers=len(steps)
            )
        except Exception as error:  # noqa: BLE001 - every error must become a status
            self._reply(steps, error)
            return
        if answer is not None:
            self._reply(steps, answer)
            return
        parts = parts_of(len(steps), self._inference.rows_together(policy))
        self._inference.ask([self._question(alike, steps[part], rows[part]) for part in parts])

    def _act_alone(self, alike: StepsAlike, step: Step) -> None:
        try:
            seen = step.episode.observe(decode_observation(step.request, step.episode.contract, step.data))
            rows = step.episode.remember(seen)
        except Exception as error:  # noqa: BLE001 - every error must become a status
            step.call.fail(error)
        else:
            self._ask(alike, [step], rows)

    def _question(self, alike: StepsAlike, steps: list[Step], rows: NDArray[Any]) -> Question:
        calls = [step.call for step in steps]
        react = functools.partial(self._reply, steps)
        return Question(
            alike.policy,
            rows,
            alike.with_values,
            alike.epsilon,
            any_wanted(calls),
            react,
            n_callers=len(steps),
            is_step=True,
        )

    def _reply(self, steps: list[Step], result: Result) -> None:
        if isinstance(result, Exception):
            for step in steps:
                step.call.fail(result)
            return
        if result.memories is not None:
            for i, step in enumerate(steps):
                step.episode.memories = result.memories[i : i + 1]
        policy = steps[0].episode.policy
        is_plain = result.values is None and result.explored is None and policy.n_actions is not None
        known, actions = (self._known_of(policy), result.actions.tolist()) if is_plain else ({}, ())
        for i, (call, episode, request, data) in enumerate(steps):
            if is_plain and data:
                rest = known.get(actions[i])
                if rest is None:
                    rest = known[actions[i]] = encode_plain(policy, actions[i])
                call.reply(rest + encode_number(episode.step))
                continue
            values = None if result.values is None else result.values[i : i + 1]
            explored = None if result.explored is None else result.explored[i : i + 1]
            answer = Answer(result.actions[i : i + 1], values, explored)
            as_values = has_values_form(request.observation)
            call.reply(encode_step(policy, episode.step, answer, as_values=as_values).SerializeToString())

    def _known_of(self, policy: Policy) -> dict[int, bytes]:
        known = self._known.get(policy)
        if known is None:
            known = self._known[policy] = {}
        return known


def encode_plain(policy: Policy, action: int) -> bytes:
    """Return the response to a step that is a discrete action and nothing else, but for the step's number.

    Serialised messages that are joined are the message with the fields of both: all but the number is made once.
    """
    answer = Answer(np.array([action], np.int64))
    return encode_step(policy, 0, answer, as_values=False).SerializeToString()


@functools.lru_cache(4096)
def encode_number(step: int) -> bytes:
    """Return the response that is the number of a step and nothing else."""
    return pb.EpisodeResponse(step=step).SerializeToString()


def _current(call: Call, kind: str) -> EpisodeState:
    episode: EpisodeState | None = call.state
    if episode is None:
        raise InvalidRequest("message", "a start before anything else of an episode", kind)
    return episode


def _check_lone(message: pb.EpisodeStep | pb.EpisodeEnd) -> None:
    """Return if a message of an episode without slots has nothing of those; raises InvalidRequest."""
    if message.rewards:
        raise InvalidRequest("rewards", "a reward, since the episode has no slots", f"{len(message.rewards)} of them")
    if isinstance(message, pb.EpisodeStep) and message.ended:
        raise InvalidRequest("ended", "an end instead, since the episode has no slots", f"{len(message.ended)} of them")


def _alike(step: Step) -> StepsAlike:
    tensor = step.request.observation
    shape = tuple(tensor.shape) if len(tensor.shape) <= MOST_AXES else TOO_MANY_AXES
    episode = step.episode
    return StepsAlike(episode.policy, episode.with_values, episode.epsilon, tensor.dtype, shape, len(step.data))
