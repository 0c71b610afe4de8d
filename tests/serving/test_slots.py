"""Episodes side by side on one stream are played as each would be on a stream of its own."""

import asyncio
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.tensors import to_tensor
from polserve.serving.client import AsyncPolicyClient, ClientError, EndedEpisode, InvalidArgument, PolicyClient
from polserve.serving.policy import Policy
from tests.support.http2 import EPISODE, RawClient, framed
from tests.support.running import Running, service, wait_until
from tests.support.versions import make_frames_version, make_version

FRAMES = np.random.default_rng(1).integers(0, 256, (12, 3, 36, 36), np.uint8)
"""Of 12 steps, for 3 slots."""
GOLDEN = make_version().golden


def count(running: Running, series: str) -> float:
    lines = running.metrics().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(series))


def test_each_slot_has_a_stack_of_its_own_and_begins_it_anew(client: PolicyClient) -> None:
    policy = Policy.of_model("frames", "1", make_frames_version().model.SerializeToString())
    stacks = np.repeat(FRAMES[0][:, np.newaxis], 4, axis=1)
    with client.episodes("frames", 3, with_values=True) as episodes:
        for t, frames in enumerate(FRAMES):
            ended = np.array([t == 7, False, t == 3])
            if t:
                stacks = np.concatenate([stacks[:, 1:], frames[:, np.newaxis]], axis=1)
                for slot in np.flatnonzero(ended):
                    stacks[slot] = frames[slot]
            rewards = np.ones(3) if t else None
            answer = episodes.act(frames, rewards, terminated=ended if t else None)
            expected = policy.act(stacks, with_values=True)
            assert answer.action.tolist() == expected.actions.tolist()
            assert answer.values == pytest.approx(expected.values, abs=1e-4)
        assert [(over.slot, over.steps, over.episode_return) for over in episodes.ended] == [(2, 3, 3.0), (0, 7, 7.0)]
        rest = episodes.end(rewards=np.ones(3), truncated=True)[2:]
        assert [(over.slot, over.steps, over.episode_return) for over in rest] == [
            (0, 5, 5.0),
            (1, 12, 12.0),
            (2, 9, 9.0),
        ]


def test_slots_are_answered_as_single_observations_are(client: PolicyClient) -> None:
    with client.episodes("cartpole", 40) as episodes:
        for start in (0, 40):
            rows = GOLDEN["observation"][start : start + 40]
            assert episodes.act(rows).action.tolist() == GOLDEN["action"][start : start + 40].tolist()
        assert [over.episode_return for over in episodes.end()] == [None] * 40, "no reward was reported"


def test_episodes_of_slots_are_counted_by_how_they_ended(running: Running, client: PolicyClient) -> None:
    series = 'polserve_episodes_ended_total{end="%s",policy="cartpole",version="1"}'
    before = {how: count(running, series % how) for how in ("terminated", "truncated")}
    rows = GOLDEN["observation"][:3]
    with client.episodes("cartpole", 3) as episodes:
        episodes.act(rows)
        episodes.act(rows, np.ones(3), terminated=[True, False, False], truncated=[False, True, False])
        episodes.end()
    after = {how: count(running, series % how) for how in ("terminated", "truncated")}
    assert after["truncated"] - before["truncated"] == 1
    assert after["terminated"] - before["terminated"] == 1 + 3


def test_slots_explore_each_by_itself(client: PolicyClient) -> None:
    with client.episodes("cartpole", 60, epsilon=0.5) as episodes:
        answer = episodes.act(np.repeat(GOLDEN["observation"][:1], 60, axis=0))
    assert answer.explored is not None
    assert 5 < answer.explored.sum() < 55
    assert (answer.action[~answer.explored] == GOLDEN["action"][0]).all()


@pytest.mark.parametrize("mode", [gym.vector.AutoresetMode.NEXT_STEP, gym.vector.AutoresetMode.SAME_STEP])
def test_a_vector_environment_plays_against_the_service(client: PolicyClient, mode: gym.vector.AutoresetMode) -> None:
    envs = gym.make_vec("CartPole-v1", 4, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode})
    with client.episodes("cartpole", envs.num_envs) as episodes:
        n_steps = sum(1 for _ in episodes.play(envs, 150, seed=0))
        ended = list(episodes.ended)
    envs.close()
    assert n_steps == 150
    assert len(ended) > 4
    is_next_step = mode is gym.vector.AutoresetMode.NEXT_STEP
    for over in ended:  # CartPole earns 1 a step; the observation that ends an episode is answered too with NextStep
        assert over.episode_return == over.steps - is_next_step


def test_asyncio_plays_the_same_episodes_side_by_side(running: Running, client: PolicyClient) -> None:
    with client.episodes("frames", 3, with_values=True) as theirs:
        expected = [theirs.act(frames).values for frames in FRAMES[:5]]

    async def play() -> list[EndedEpisode]:
        async with (
            AsyncPolicyClient(running.target) as other,
            other.episodes("frames", 3, with_values=True) as episodes,
        ):
            assert episodes.n == 3
            for t, frames in enumerate(FRAMES[:5]):
                answer = await episodes.act(frames, np.ones(3) if t else None)
                assert answer.values == pytest.approx(expected[t], abs=1e-4)
            await episodes.act(FRAMES[5], np.ones(3), terminated=[True, False, False])
            return await episodes.end(rewards=np.ones(3))

    ended = asyncio.run(play())
    assert [(over.slot, over.episode_return) for over in ended] == [(0, 5.0), (0, 1.0), (1, 6.0), (2, 6.0)]


def test_several_vector_environments_play_in_one_asyncio_loop(running: Running) -> None:
    async def play(other: AsyncPolicyClient, seed: int) -> list[EndedEpisode]:
        envs = gym.make_vec("CartPole-v1", 4, vectorization_mode="sync")
        async with other.episodes("cartpole", envs.num_envs) as episodes:
            n_steps = len([action async for action in episodes.play(envs, 60, seed=seed)])
        envs.close()
        assert n_steps == 60
        return episodes.ended

    async def play_both() -> tuple[list[EndedEpisode], list[EndedEpisode]]:
        async with AsyncPolicyClient(running.target) as other:
            return await asyncio.gather(play(other, 0), play(other, 1))

    for ended in asyncio.run(play_both()):
        assert len(ended) > 4
        assert all(over.episode_return == over.steps - 1 for over in ended), "NextStep answers the last one too"


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            {"observation": to_tensor(GOLDEN["observation"][:2])},
            "observation.shape: expected (3, 4), one observation for",
        ),
        ({"observation": to_tensor(GOLDEN["observation"][0])}, "observation.shape: expected a leading axis of 3 slots"),
        ({"rewards": [1.0, 2.0]}, "rewards: expected 3, one for each slot, or none, got 2 of them"),
        ({"rewards": [1.0, float("nan"), 2.0]}, "rewards: expected finite numbers of at most 3.4e+38, got nan at [1]"),
        ({"rewards": [1.0, 2.0, -1e300]}, "rewards: expected finite numbers of at most 3.4e+38, got -1e+300 at [2]"),
        ({"ended": [1]}, "ended: expected 3, one for each slot, or none, got 1 of them"),
        ({"ended": [0, 7, 0]}, "ended: expected SLOT_END_TERMINATED, SLOT_END_TRUNCATED or 0, got 7 at [1]"),
        ({"reward": 1.0}, "reward: expected rewards, one for each slot, got 1.0"),
    ],
)
def test_a_message_whose_slots_disagree_ends_the_stream_and_says_why(
    running: Running, step: dict[str, object], message: str
) -> None:
    rows = to_tensor(GOLDEN["observation"][:3])
    start = pb.EpisodeRequest(start=pb.EpisodeStart(policy="cartpole", slots=3, observation=rows))
    request = pb.EpisodeRequest(step=pb.EpisodeStep(**{"observation": rows, **step}))  # type: ignore[arg-type]
    with RawClient(running.target) as raw:
        sent = framed(start.SerializeToString()) + framed(request.SerializeToString())
        stream = raw.call(EPISODE, [sent])
    assert (stream.status, len(stream.messages)) == (3, 1)
    assert message in stream.details


@pytest.mark.parametrize("n", [-1, 5000])
def test_a_number_of_slots_that_is_none_is_refused(running: Running, n: int) -> None:
    request = pb.EpisodeRequest(start=pb.EpisodeStart(policy="cartpole", slots=n)).SerializeToString()
    with RawClient(running.target) as raw:
        stream = raw.call(EPISODE, [framed(request)])
    assert (stream.status, stream.details) == (3, f"slots: expected 1 to 4096, or 0 for a single episode, got {n}")


def test_the_client_refuses_slots_that_disagree_before_anything_is_sent(client: PolicyClient) -> None:
    with pytest.raises(InvalidArgument, match="n: expected"):
        client.episodes("cartpole", 0)
    with client.episodes("cartpole", 3) as episodes:
        episodes.act(GOLDEN["observation"][:3])
        with pytest.raises(InvalidArgument, match="rewards: expected numbers, one for each of 3 slots"):
            episodes.act(GOLDEN["observation"][:3], np.ones(2))
        with pytest.raises(InvalidArgument, match="terminated: expected truth values, one for each of 3 slots"):
            episodes.act(GOLDEN["observation"][:3], np.ones(3), terminated=True)
        assert episodes.act(GOLDEN["observation"][:3], np.ones(3)).action.shape == (3,)


def test_every_slot_counts_as_an_open_episode(policies: Path, tmp_path: Path) -> None:
    with (
        service("--policies", str(policies), "--max-episodes", "10", folder=tmp_path) as small,
        PolicyClient(small.target) as client,
    ):
        wait_until(small.is_up, small.log)
        with client.episodes("cartpole", 9) as nine, client.episode("cartpole") as last:
            nine.act(GOLDEN["observation"][:9])
            last.act(GOLDEN["observation"][0])
            with client.episode("cartpole") as more, pytest.raises(ClientError, match="10 episodes are open, which is"):
                more.act(GOLDEN["observation"][0])
        wait_until(lambda: count(small, "polserve_episodes_active") == 0, small.log)
        with client.episodes("cartpole", 11) as eleven, pytest.raises(ClientError, match="11 more are above the limit"):
            eleven.act(GOLDEN["observation"][:11])


def test_the_frames_that_episodes_keep_are_bounded_in_bytes(policies: Path, tmp_path: Path) -> None:
    frames = np.zeros((203, 36, 36), np.uint8)  # 203 x 4 x 36 x 36 bytes are a little more than a MiB
    with (
        service("--policies", str(policies), "--max-episode-mib", "1", folder=tmp_path) as small,
        PolicyClient(small.target) as client,
    ):
        wait_until(small.is_up, small.log)
        with client.episodes("frames", 203) as many, pytest.raises(ClientError, match="keep 0 MiB of frames, of 1"):
            many.act(frames)
        with client.episodes("frames", 202) as fewer:
            assert fewer.act(frames[:202]).action.shape == (202,)
