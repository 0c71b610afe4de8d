"""The Episode handler and its open streams, without a transport."""

import numpy as np
import pytest

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.tensors import to_array, to_tensor
from polserve.serving.episodes import EpisodeLimits, OpenStreams
from polserve.serving.errors import Expired, InvalidRequest, NotReady, Overloaded
from polserve.serving.handlers.episode import EpisodeHandler
from polserve.serving.policy import Policy
from tests.support.calls import ReceivedCall, Runs, catalog_of, inference_of
from tests.support.versions import make_frames_version, make_version

GOLDEN = make_version().golden
OBSERVATIONS, ACTIONS = GOLDEN["observation"], GOLDEN["action"]
FRAMES = np.random.default_rng(1).integers(0, 256, (6, 36, 36), np.uint8)


class Ended:
    """The episodes that were played to their end."""

    def __init__(self) -> None:
        self.returns: list[float | None] = []
        self.truncated: list[bool] = []

    def count_episode(self, _policy: Policy, episode_return: float | None, *, is_truncated: bool) -> None:
        self.returns.append(episode_return)
        self.truncated.append(is_truncated)


class Service:
    """A handler with all that it needs."""

    def __init__(self) -> None:
        self.runs, self.ended, self.n_open = Runs(), Ended(), 0
        self.catalog = catalog_of(make_version(), make_frames_version())
        self.streams = OpenStreams(
            EpisodeLimits(max_open=3, max_state_bytes=1 << 20, idle_s=60, retired_s=60), self.catalog.is_live, self.tell
        )
        self.handler = EpisodeHandler(self.catalog, inference_of(self.runs), self.streams, self.ended)

    def tell(self, n_open: int) -> None:
        self.n_open = n_open

    def opened(self, **start: object) -> ReceivedCall:
        """A stream on which an episode has begun."""
        call = ReceivedCall(pb.EpisodeRequest(start=pb.EpisodeStart(**{"policy": "cartpole", **start})))  # type: ignore[arg-type]
        self.handler.open(call)
        self.handler.handle([call])
        assert call.error is None, call.error
        return call

    def step(self, *steps: tuple[ReceivedCall, pb.EpisodeStep]) -> list[pb.EpisodeResponse]:
        """The responses to steps that arrive in one round."""
        for call, step in steps:
            call.ask(pb.EpisodeRequest(step=step))
        self.handler.handle([call for call, _ in steps])
        return [pb.EpisodeResponse.FromString(call.replies[-1]) for call, _ in steps]

    def end(self, call: ReceivedCall, **fields: object) -> pb.EpisodeResponse:
        call.ask(pb.EpisodeRequest(end=pb.EpisodeEnd(**fields)))  # type: ignore[arg-type]
        self.handler.handle([call])
        return pb.EpisodeResponse.FromString(call.replies[-1])


@pytest.fixture
def service() -> Service:
    return Service()


def look(observation: np.ndarray, **fields: object) -> pb.EpisodeStep:
    return pb.EpisodeStep(observation=to_tensor(observation), **fields)  # type: ignore[arg-type]


def test_steps_of_several_episodes_are_one_run_and_each_gets_its_action(service: Service) -> None:
    calls = [service.opened() for _ in range(3)]
    responses = service.step(*((call, look(OBSERVATIONS[i])) for i, call in enumerate(calls)))
    assert [int(to_array(response.action)) for response in responses] == ACTIONS[:3].tolist()
    assert [response.step for response in responses] == [1, 1, 1]
    assert service.runs.sizes == [3]
    (again,) = service.step((calls[1], look(OBSERVATIONS[7])))
    assert (int(to_array(again.action)), again.step, again.version) == (ACTIONS[7], 2, "1")


def test_an_episode_keeps_its_own_stack_beside_another(service: Service) -> None:
    first, second = (service.opened(policy="frames", with_values=True) for _ in "12")
    policy = service.catalog.resolve("frames", "", None)
    stacks = {
        call: np.repeat(frame[np.newaxis], 4, axis=0) for call, frame in ((first, FRAMES[0]), (second, FRAMES[5]))
    }
    for i in range(6):
        frames = {first: FRAMES[i], second: FRAMES[5 - i]}
        if i:
            stacks = {call: np.concatenate([stacks[call][1:], frame[np.newaxis]]) for call, frame in frames.items()}
        responses = service.step(*((call, look(frame)) for call, frame in frames.items()))
        for response, call in zip(responses, frames, strict=True):
            expected = policy.act(stacks[call][np.newaxis], with_values=True)
            assert expected.values is not None
            assert to_array(response.values) == pytest.approx(expected.values[0], abs=1e-5)


def test_rewards_add_up_to_the_return_which_is_counted_once(service: Service) -> None:
    call = service.opened(observation=to_tensor(OBSERVATIONS[0]))
    service.step((call, look(OBSERVATIONS[1], reward=1.5)))
    response = service.end(call, reward=2.0, truncated=True)
    assert (response.episode_return, response.step) == (3.5, 2)
    assert (service.ended.returns, service.ended.truncated) == ([3.5], [True])
    call.ask(pb.EpisodeRequest(start=pb.EpisodeStart(policy="cartpole")))
    service.handler.handle([call])
    assert not service.end(call).HasField("episode_return"), "none was reported in the second episode"
    assert service.ended.returns == [3.5, None]


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (pb.EpisodeRequest(step=look(OBSERVATIONS[0])), "a start before anything else of an episode"),
        (pb.EpisodeRequest(end=pb.EpisodeEnd()), "a start before anything else of an episode"),
        (pb.EpisodeRequest(), "start, step or end"),
    ],
)
def test_what_comes_before_a_start_ends_the_stream(service: Service, request_: pb.EpisodeRequest, text: str) -> None:
    call = ReceivedCall(request_)
    service.handler.open(call)
    service.handler.handle([call])
    assert isinstance(call.error, InvalidRequest)
    assert text in str(call.error)


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (look(OBSERVATIONS[:2]), "one observation (4,)"),
        (look(OBSERVATIONS[0, :3]), "(4,)"),
        (look(OBSERVATIONS[0], reward=1.0), "none before the first action"),
        (look(OBSERVATIONS[0], reward=float("nan")), "a finite number"),
        (look(OBSERVATIONS[0], reward=1.7e308), "a finite number of at most 3.4e+38, got 1.7e+308"),
        (pb.EpisodeStep(observation=to_tensor(OBSERVATIONS[0]), rewards=[1.0]), "since the episode has no slots"),
        (
            pb.EpisodeStep(observation=to_tensor(OBSERVATIONS[0]), ended=[pb.SLOT_END_TERMINATED]),
            "since the episode has no slots",
        ),
    ],
    ids=["two", "shape", "reward too early", "nan", "huge", "rewards", "ended"],
)
def test_a_step_that_makes_no_sense_ends_its_own_stream_only(service: Service, step: pb.EpisodeStep, text: str) -> None:
    bad, good = service.opened(), service.opened()
    service.step((bad, step), (good, look(OBSERVATIONS[0])))
    assert isinstance(bad.error, InvalidRequest)
    assert text in str(bad.error)
    assert good.error is None
    assert pb.EpisodeResponse.FromString(good.replies[-1]).step == 1


def test_more_streams_than_may_be_open_are_refused_until_one_closes(service: Service) -> None:
    calls = [service.opened() for _ in range(3)]
    assert service.n_open == 3
    with pytest.raises(Overloaded, match="3 episodes are open, which is the limit"):
        service.opened()
    service.handler.close(calls[0])
    service.opened()
    assert service.n_open == 3


def test_draining_ends_streams_between_episodes_and_lets_others_play_on(service: Service) -> None:
    playing, between = service.opened(), service.opened()
    service.end(between)
    service.streams.drain()
    assert isinstance(between.error, NotReady)
    assert playing.error is None
    service.step((playing, look(OBSERVATIONS[0])))
    assert service.end(playing).step == 1
    assert isinstance(playing.error, NotReady), "it may not begin another"
    with pytest.raises(NotReady, match="draining"):
        service.opened()


def test_a_stream_without_messages_is_ended_and_its_state_is_freed(service: Service) -> None:
    idle, active = service.opened(), service.opened()
    idle.active_at -= 61
    service.streams.reap()
    assert isinstance(idle.error, Expired)
    assert active.error is None


def test_an_episode_outlives_its_version_for_a_while_and_not_for_ever(service: Service) -> None:
    call = service.opened()
    streams = OpenStreams(
        EpisodeLimits(max_open=3, max_state_bytes=1 << 20, idle_s=60, retired_s=0.0),
        lambda _policy: False,
        service.tell,
    )
    streams.open(call)
    streams.reap()
    assert call.error is None, "it was seen to be replaced just now"
    streams.reap()
    assert isinstance(call.error, NotReady)
    assert "cartpole/1 was replaced more than 0 s ago" in str(call.error)
