"""Whatever clients do with their episodes, in any order, the service keeps the state that a simple model keeps."""

import queue
import re
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.tensors import to_array, to_tensor
from tests.support.running import Running, wait_until
from tests.support.versions import make_version

GOLDEN = make_version().golden
OBSERVATIONS, ACTIONS = GOLDEN["observation"], GOLDEN["action"]
NOT_ENDED = pb.SLOT_END_UNSPECIFIED
METHOD = "/polserve.v1.PolicyService/Episode"
MACHINES = max(1, settings().max_examples // 45)
"""Sequences of rules that are tried on each service."""

rows = st.integers(0, len(OBSERVATIONS) - 1)
rewards = st.one_of(st.none(), st.floats(-100, 100, width=32))


class Ended(Exception):
    """The service has ended a stream."""


class Stream:
    """One stream, spoken to in turn."""

    def __init__(self, channel: grpc.Channel, timeout_s: float = 60) -> None:
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        ask: Any = channel.stream_stream(METHOD)
        self.call = ask(iter(self._requests.get, None), timeout=timeout_s)

    def ask(self, **message: Any) -> pb.EpisodeResponse:
        """Send a message and return its answer; raises Ended."""
        self._requests.put(pb.EpisodeRequest(**message).SerializeToString())
        try:
            return pb.EpisodeResponse.FromString(next(self.call))
        except grpc.RpcError:
            raise Ended(self.call.code().name) from None

    def half_close(self) -> str:
        """Send no more; return the status that the service ends the stream with."""
        self._requests.put(None)
        list(self.call)
        return str(self.call.code().name)

    def vanish(self) -> None:
        """Cancel the stream."""
        self.call.cancel()
        self._requests.put(None)


@dataclass(eq=False)
class Play:
    """What the model keeps of a stream: a single episode, a group of slots, or neither."""

    stream: Stream
    is_playing: bool = False
    n_slots: int = 0
    step: int = 0
    returned: float | None = None
    begun: list[int] = field(default_factory=list)
    """Steps of the group when each slot's episode began."""
    returns: list[float | None] = field(default_factory=list)


class EpisodeMachine(RuleBasedStateMachine):
    """Plays on several streams of one service."""

    target = ""

    def __init__(self) -> None:
        super().__init__()
        self.plays: list[Play] = []

    @initialize()
    def connect(self) -> None:
        self.channel = grpc.insecure_channel(self.target, [("grpc.use_local_subchannel_pool", 1)])

    @precondition(lambda self: len(self.plays) < 4)
    @rule()
    def open(self) -> None:
        self.plays.append(Play(Stream(self.channel)))

    @precondition(lambda self: self.plays)
    @rule(data=st.data(), row=st.one_of(st.none(), rows))
    def start(self, data: st.DataObject, row: int | None) -> None:
        play = self._chosen(data)
        seen = None if row is None else to_tensor(OBSERVATIONS[row])
        answer = play.stream.ask(start=pb.EpisodeStart(policy="cartpole", observation=seen))
        play.is_playing, play.n_slots, play.step, play.returned = True, 0, 0, None
        self._check(play, answer, row)

    @precondition(lambda self: any(play.is_playing and not play.n_slots for play in self.plays))
    @rule(data=st.data(), row=rows, reward=rewards)
    def take_step(self, data: st.DataObject, row: int, reward: float | None) -> None:
        play = data.draw(st.sampled_from([one for one in self.plays if one.is_playing and not one.n_slots]))
        message = {"step": pb.EpisodeStep(observation=to_tensor(OBSERVATIONS[row]), reward=reward)}
        if reward is not None and not play.step:
            self._refused(play, **message)
            return
        self._earn(play, reward)
        self._check(play, play.stream.ask(**message), row)

    @precondition(lambda self: any(play.is_playing and not play.n_slots for play in self.plays))
    @rule(data=st.data(), reward=rewards, is_truncated=st.booleans())
    def end(self, data: st.DataObject, reward: float | None, *, is_truncated: bool) -> None:
        play = data.draw(st.sampled_from([one for one in self.plays if one.is_playing and not one.n_slots]))
        message = {"end": pb.EpisodeEnd(reward=reward, truncated=is_truncated)}
        if reward is not None and not play.step:
            self._refused(play, **message)
            return
        self._earn(play, reward)
        answer = play.stream.ask(**message)
        assert answer.step == play.step
        assert answer.HasField("episode_return") == (play.returned is not None)
        assert answer.episode_return == (play.returned or 0.0)
        play.is_playing = False

    @precondition(lambda self: self.plays)
    @rule(data=st.data(), n=st.integers(1, 5))
    def start_slots(self, data: st.DataObject, n: int) -> None:
        play = self._chosen(data)
        answer = play.stream.ask(start=pb.EpisodeStart(policy="cartpole", slots=n))
        assert (answer.version, answer.step) == ("1", 0)
        play.is_playing, play.n_slots, play.step = True, n, 0
        play.begun, play.returns = [0] * n, [None] * n

    @precondition(lambda self: any(play.n_slots for play in self.plays))
    @rule(data=st.data(), earned=st.booleans())
    def step_slots(self, data: st.DataObject, *, earned: bool) -> None:
        play = data.draw(st.sampled_from([one for one in self.plays if one.n_slots]))
        n = play.n_slots
        seen = data.draw(st.lists(rows, min_size=n, max_size=n))
        gains = data.draw(st.lists(st.integers(-5, 5), min_size=n, max_size=n)) if earned and play.step else []
        may_end = [play.step > begun for begun in play.begun]
        hows = [pb.SLOT_END_TERMINATED if may and data.draw(st.booleans()) else NOT_ENDED for may in may_end]
        for slot, gain in enumerate(gains):
            play.returns[slot] = (play.returns[slot] or 0) + gain
        answer = play.stream.ask(
            step=pb.EpisodeStep(observation=to_tensor(OBSERVATIONS[seen]), rewards=gains, ended=hows)
        )
        over = [slot for slot in range(n) if hows[slot]]
        assert [one.slot for one in answer.ended] == over
        for one in answer.ended:
            assert one.steps == play.step - play.begun[one.slot]
            assert self._return_of(one) == play.returns[one.slot]
            play.begun[one.slot], play.returns[one.slot] = play.step, None
        play.step += 1
        assert answer.step == play.step
        assert to_array(answer.action).tolist() == ACTIONS[seen].tolist()

    @precondition(lambda self: any(play.n_slots for play in self.plays))
    @rule(data=st.data())
    def end_slots(self, data: st.DataObject) -> None:
        play = data.draw(st.sampled_from([one for one in self.plays if one.n_slots]))
        if play.step and play.step in play.begun:  # a slot has no action yet
            return
        answer = play.stream.ask(end=pb.EpisodeEnd())
        assert [one.slot for one in answer.ended] == (list(range(play.n_slots)) if play.step else [])
        assert [self._return_of(one) for one in answer.ended] == play.returns[: len(answer.ended)]
        play.is_playing, play.n_slots = False, 0

    @precondition(lambda self: any(not play.is_playing for play in self.plays))
    @rule(data=st.data(), kind=st.sampled_from(["step", "end", "nothing"]))
    def speak_out_of_turn(self, data: st.DataObject, kind: str) -> None:
        play = data.draw(st.sampled_from([one for one in self.plays if not one.is_playing]))
        seen = pb.EpisodeStep(observation=to_tensor(OBSERVATIONS[0]))
        messages: dict[str, dict[str, Any]] = {"step": {"step": seen}, "end": {"end": pb.EpisodeEnd()}, "nothing": {}}
        self._refused(play, **messages[kind])

    @precondition(lambda self: self.plays)
    @rule(data=st.data())
    def half_close(self, data: st.DataObject) -> None:
        play = self._chosen(data)
        assert play.stream.half_close() == "OK"
        self.plays.remove(play)

    @precondition(lambda self: self.plays)
    @rule(data=st.data())
    def vanish(self, data: st.DataObject) -> None:
        play = self._chosen(data)
        play.stream.vanish()
        self.plays.remove(play)

    @rule(row=rows)
    def run_out_of_time(self, row: int) -> None:
        stream = Stream(self.channel, timeout_s=0.1)
        try:
            stream.ask(start=pb.EpisodeStart(policy="cartpole", observation=to_tensor(OBSERVATIONS[row])))
            next(stream.call)  # nothing was asked
        except (Ended, grpc.RpcError):
            assert stream.call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        stream.vanish()

    @rule()
    def connect_again(self) -> None:
        self.teardown()
        self.connect()

    def teardown(self) -> None:
        for play in self.plays:
            play.stream.vanish()
        self.plays.clear()
        self.channel.close()

    def _chosen(self, data: st.DataObject) -> Play:
        return data.draw(st.sampled_from(self.plays))

    @staticmethod
    def _check(play: Play, answer: pb.EpisodeResponse, row: int | None) -> None:
        assert answer.version == "1"
        if row is None:
            assert not answer.HasField("action")
            return
        play.step += 1
        assert answer.step == play.step
        assert to_array(answer.action).item() == ACTIONS[row]

    @staticmethod
    def _earn(play: Play, reward: float | None) -> None:
        if reward is not None:
            play.returned = (play.returned or 0.0) + reward

    @staticmethod
    def _return_of(one: pb.SlotReturn) -> float | None:
        return one.episode_return if one.HasField("episode_return") else None

    def _refused(self, play: Play, **message: Any) -> None:
        """See that a message ends the stream as one that cannot be."""
        with pytest.raises(Ended, match=r"^INVALID_ARGUMENT$"):
            play.stream.ask(**message)
        play.stream.vanish()
        self.plays.remove(play)


def test_episodes_are_what_a_model_of_them_says(running: Running) -> None:
    class Machine(EpisodeMachine):
        target = running.target

    told = settings(max_examples=MACHINES, stateful_step_count=25)
    run_state_machine_as_test(Machine, settings=told)

    def are_gone() -> bool:
        found = re.findall(r"^polserve_episodes_active(?:{.*})? (\S+)", running.metrics(), re.MULTILINE)
        return bool(found) and sum(map(float, found)) == 0

    wait_until(are_gone, running.log)
