import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.polserve.v1 import policy_pb2_grpc
from polserve.protos.tensors import to_tensor
from polserve.serving.client import ClientError, PolicyClient
from polserve.serving.policy import Policy
from tests.support.running import Running, service, wait_until
from tests.support.versions import make_frames_version, make_version

FRAMES = np.random.default_rng(1).integers(0, 256, (9, 36, 36), np.uint8)
OBSERVATION = make_version().golden["observation"][0]


def start(**fields: object) -> pb.EpisodeRequest:
    return pb.EpisodeRequest(start=pb.EpisodeStart(**{"policy": "cartpole", **fields}))  # type: ignore[arg-type]


def step(observation: np.ndarray = OBSERVATION, reward: float | None = None) -> pb.EpisodeRequest:
    return pb.EpisodeRequest(step=pb.EpisodeStep(observation=to_tensor(observation), reward=reward))


def end(reward: float | None = None) -> pb.EpisodeRequest:
    return pb.EpisodeRequest(end=pb.EpisodeEnd(reward=reward))


def talk(running: Running, *requests: pb.EpisodeRequest) -> list[pb.EpisodeResponse]:
    """The responses to the requests, sent on one stream."""
    with grpc.insecure_channel(running.target) as channel:
        return list(policy_pb2_grpc.PolicyServiceStub(channel).Episode(iter(requests), timeout=10))


def active(running: Running) -> int:
    """Open streams, as the metrics tell."""
    values = [line.split()[1] for line in running.metrics().splitlines() if line.startswith("polserve_episodes_active")]
    return int(sum(map(float, values)))


@pytest.mark.parametrize("with_values", [False, True])
def test_the_service_stacks_the_frames_as_in_training(client: PolicyClient, with_values: bool) -> None:  # noqa: FBT001
    model = make_frames_version().model.SerializeToString()
    policy = Policy.of_model("frames", "1", model)
    stack = np.repeat(FRAMES[:1], 4, axis=0)
    with client.episode("frames", with_values=with_values) as episode:
        for i, frame in enumerate(FRAMES):
            stack = np.concatenate([stack[1:], frame[np.newaxis]]) if i else stack
            answer = episode.act(frame)
            expected = policy.act(stack[np.newaxis], with_values=True)
            assert answer.action == expected.actions[0]
            assert answer.action.shape == ()
            assert (answer.values is not None) is with_values
            if answer.values is not None:
                assert expected.values is not None
                assert answer.values == pytest.approx(expected.values[0], abs=1e-5)


def test_a_second_episode_starts_with_a_stack_of_its_own(client: PolicyClient) -> None:
    with client.episode("frames", with_values=True) as episode:
        first = [episode.act(frame).values for frame in FRAMES]
        assert episode.end() is None, "no reward was reported"
        second = [episode.act(frame).values for frame in FRAMES]
    assert all((one == two).all() for one, two in zip(first, second, strict=True) if one is not None)


def test_rewards_are_summed_and_counted_by_version(running: Running, client: PolicyClient) -> None:
    def count() -> float:
        series = 'polserve_episode_return_count{policy="cartpole",version="1"}'
        return sum(float(line.split()[1]) for line in running.metrics().splitlines() if line.startswith(series))

    before = count()
    with client.episode("cartpole") as episode:
        episode.act(OBSERVATION)
        episode.act(OBSERVATION, reward=1.5)
        assert episode.end(reward=-4) == -2.5
        episode.act(OBSERVATION)
        assert episode.end(reward=7, truncated=True) == 7
        episode.act(OBSERVATION)
        assert episode.end() is None
    assert count() == before + 2, "an episode without rewards has no return"
    page = running.metrics()
    for sign in "+-":
        assert f'polserve_episode_return_parts_total{{policy="cartpole",sign="{sign}",version="1"}}' in page


def test_every_request_gets_one_response_and_steps_are_counted(running: Running) -> None:
    first = start(observation=to_tensor(OBSERVATION))
    responses = talk(running, first, step(reward=1.0), start(), step(), end(), start(version="1"), end())
    assert [response.step for response in responses] == [1, 2, 0, 1, 1, 0, 0]
    assert [response.HasField("action") for response in responses] == [True, True, False, True, False, False, False]
    assert {(response.policy, response.version) for response in responses} == {("cartpole", "1")}


def test_a_stream_may_change_the_policy_with_a_new_start(running: Running) -> None:
    responses = talk(running, start(), step(), start(policy="frames"), step(FRAMES[0]))
    assert [response.policy for response in responses] == ["cartpole", "cartpole", "frames", "frames"]


def test_values_by_hand_are_answered_alike(running: Running) -> None:
    by_hand = pb.EpisodeRequest(step=pb.EpisodeStep(observation=pb.Tensor(values=OBSERVATION)))
    _, response = talk(running, start(), by_hand)
    assert list(response.action.values) == [make_version().golden["action"][0]]


def test_an_episode_explores_as_it_was_told_at_its_start(client: PolicyClient) -> None:
    with client.episode("cartpole", epsilon=1.0) as episode:
        answers = [episode.act(OBSERVATION) for _ in range(40)]
    assert all(answer.explored is not None and answer.explored.all() for answer in answers)
    assert {int(answer.action) for answer in answers} == {0, 1}


@pytest.mark.parametrize(
    ("requests", "code", "message"),
    [
        ([step()], "INVALID_ARGUMENT", "message: expected a start before anything else of an episode, got step"),
        ([end()], "INVALID_ARGUMENT", "message: expected a start before anything else of an episode, got end"),
        ([start(), end(), end()], "INVALID_ARGUMENT", "expected a start before anything else"),
        ([start(), end(), step()], "INVALID_ARGUMENT", "expected a start before anything else"),
        ([pb.EpisodeRequest()], "INVALID_ARGUMENT", "message: expected start, step or end, got none of them"),
        ([start(policy="go")], "NOT_FOUND", "no policy 'go' is live"),
        ([start(version="9")], "NOT_FOUND", "'cartpole' is not live as '9'"),
        ([start(epsilon=2.0)], "INVALID_ARGUMENT", "epsilon: expected a probability from 0 to 1, got 2.0"),
        ([start(), step(np.zeros((2, 4), np.float32))], "INVALID_ARGUMENT", "expected one observation (4,), got 2"),
        ([start(), step(np.full(4, 1e300))], "INVALID_ARGUMENT", "observation: expected numbers that float32 holds"),
        ([start(policy="frames"), step(np.zeros((4, 36, 36), np.uint8))], "INVALID_ARGUMENT", "expected one observ"),
        ([start(policy="frames"), step(OBSERVATION)], "INVALID_ARGUMENT", "observation.shape: expected (36, 36)"),
        ([start(), pb.EpisodeRequest(step=pb.EpisodeStep())], "INVALID_ARGUMENT", "observation: expected a tensor"),
        ([start(), step(reward=1.0)], "INVALID_ARGUMENT", "reward: expected none before the first action, got 1.0"),
        (
            [start(), step(), step(reward=float("nan"))],
            "INVALID_ARGUMENT",
            "reward: expected a finite number of at most 3.4e+38, got nan",
        ),
        (
            [start(), step(), end(float("inf"))],
            "INVALID_ARGUMENT",
            "reward: expected a finite number of at most 3.4e+38, got inf",
        ),
    ],
)
def test_what_makes_no_episode_ends_the_stream_and_says_why(
    running: Running, requests: list[pb.EpisodeRequest], code: str, message: str
) -> None:
    with pytest.raises(grpc.RpcError) as refusal:
        talk(running, *requests)
    assert refusal.value.code().name == code
    assert message in (refusal.value.details() or "")
    wait_until(lambda: active(running) == 0, running.log)


def test_a_thousand_streams_that_are_opened_and_killed_leave_nothing(running: Running) -> None:
    for _ in range(20):
        with grpc.insecure_channel(running.target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            stub = policy_pb2_grpc.PolicyServiceStub(channel)
            forever = threading.Event()

            def requests(forever: threading.Event = forever) -> Iterator[pb.EpisodeRequest]:
                yield start()
                forever.wait()

            calls = [stub.Episode(requests()) for _ in range(50)]
            answered = [next(call).version for call in calls[::2]]
            for call in calls[1::4]:
                call.cancel()
            forever.set()
        assert answered == ["1"] * 25
    wait_until(lambda: active(running) == 0, running.log)


def test_a_promotion_never_changes_the_policy_in_mid_episode(options: tuple[str, ...], tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    make_version().write(folder / "cartpole" / "1")
    serving = service("--policies", str(folder), "--poll-interval", "0.1", *options, folder=tmp_path)
    with serving as running, PolicyClient(running.target) as client:
        wait_until(running.is_up, running.log)
        with client.episode("cartpole") as episode:
            assert episode.act(OBSERVATION).version == "1"
            make_version(1).write(folder / ".2").rename(folder / "cartpole" / "2")
            wait_until(lambda: client.act("cartpole", OBSERVATION).version == "2", running.log)
            assert episode.act(OBSERVATION, reward=1.0).version == "1"
            episode.end(reward=1.0)
            assert episode.act(OBSERVATION).version == "2", "the next episode takes the version of its start"


def test_at_the_cap_a_stream_is_refused_and_act_is_answered_as_ever(
    options: tuple[str, ...], policies: Path, tmp_path: Path
) -> None:
    limits = ("--max-episodes", "8")
    with (
        service("--policies", str(policies), *options, *limits, folder=tmp_path) as running,
        PolicyClient(running.target, timeout_s=30) as client,
    ):
        wait_until(running.is_up, running.log)
        clients = [PolicyClient(running.target, timeout_s=30) for _ in range(40)]
        open_episodes, refusals = [], []
        for each in clients:  # with two processes, until the kernel has filled both
            episode = each.episode("cartpole")
            try:
                episode.act(OBSERVATION)
                open_episodes.append(episode)
            except ClientError as error:
                refusals.append(error)
        assert len(open_episodes) == 8
        assert {error.code for error in refusals} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert "episodes are open, which is the limit; try again in 1 s" in str(refusals[0])
        assert active(running) == 8
        for _ in range(200):
            assert client.act("cartpole", OBSERVATION).version == "1"
        for episode in open_episodes:
            episode.close()
        wait_until(lambda: active(running) == 0, running.log)
        with client.episode("cartpole") as episode:
            assert episode.act(OBSERVATION).version == "1", "there is room again"
        for each in clients:
            each.close()


def test_an_idle_stream_is_ended_with_a_reason_and_freed(
    options: tuple[str, ...], policies: Path, tmp_path: Path
) -> None:
    idle = ("--episode-idle", "1")
    with (
        service("--policies", str(policies), *options, *idle, folder=tmp_path) as running,
        PolicyClient(running.target) as client,
    ):
        wait_until(running.is_up, running.log)
        with client.episode("cartpole") as episode:
            until = time.monotonic() + 1.2
            while time.monotonic() < until:
                episode.act(OBSERVATION)
            wait_until(lambda: active(running) == 0, running.log)
            with pytest.raises(ClientError, match=r"no message came for 1 s") as refusal:
                episode.act(OBSERVATION)
        assert refusal.value.code is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_client_that_stops_reading_is_cut_off(options: tuple[str, ...], policies: Path, tmp_path: Path) -> None:
    idle = ("--episode-idle", "0.5")
    small_window = [("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0)]
    with (
        service("--policies", str(policies), *options, *idle, folder=tmp_path) as running,
        grpc.insecure_channel(running.target, small_window) as channel,
    ):
        wait_until(running.is_up, running.log)

        def requests() -> Iterator[pb.EpisodeRequest]:
            yield start(with_values=True)
            while True:
                yield step()

        call = policy_pb2_grpc.PolicyServiceStub(channel).Episode(requests())
        assert next(call).version == "1"
        wait_until(lambda: active(running) == 0, running.log)
        call.cancel()


def test_draining_ends_streams_between_episodes_and_lets_others_play_on(
    options: tuple[str, ...], policies: Path, tmp_path: Path
) -> None:
    with (
        service("--policies", str(policies), *options, folder=tmp_path) as running,
        PolicyClient(running.target) as client,
    ):
        wait_until(running.is_up, running.log)
        with client.episode("cartpole") as playing, client.episode("cartpole") as between:
            playing.act(OBSERVATION)
            between.act(OBSERVATION)
            between.end()
            running.process.terminate()
            wait_until(lambda: running.ready_page()[0] == 503, running.log)
            wait_until(lambda: active(running) == 1, running.log)
            with pytest.raises(ClientError, match="UNAVAILABLE: draining"):
                between.act(OBSERVATION)
            assert playing.act(OBSERVATION, reward=1.0).version == "1"
            assert playing.end(reward=1.0) == 2.0
            with pytest.raises(ClientError, match="UNAVAILABLE"):
                playing.act(OBSERVATION)
        assert running.process.wait(60) == 0
