from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polserve.training.errors import CheckpointError
from polserve.training.learning.replay import Replay
from polserve.training.learning.transitions import Sampling, VectorStep


def step(time: int, n_envs: int, *, over: list[int], terminated: list[int], reset: list[int]) -> VectorStep:
    """A step whose observation, action and reward tell its time and environment."""
    envs = np.arange(n_envs)
    return VectorStep(
        observation_tm1=(100 * envs + time).astype(np.float32)[:, None],
        action_tm1=envs.astype(np.int64),
        reward_t=np.full(n_envs, float(time), np.float32),
        is_terminated=np.isin(envs, terminated),
        is_over=np.isin(envs, over),
        is_real=~np.isin(envs, reset),
    )


def filled(rows: int, capacity: int, n_envs: int = 2) -> Replay:
    """Environment 0 terminates every 5th step and is reset by the next one; environment 1 goes on."""
    replay = Replay(capacity * n_envs, n_envs, np.zeros(1, np.float32), np.zeros((), np.int64))
    for time in range(rows):
        ends = [0] if time % 6 == 4 else []
        replay.add(step(time, n_envs, over=ends, terminated=ends, reset=[0] if time % 6 == 5 else []))
    return replay


@given(n_step=st.integers(1, 4), rows=st.integers(8, 40), capacity=st.integers(8, 20), seed=st.integers(0, 1000))
def test_n_step_transitions_are_what_the_steps_say(n_step: int, rows: int, capacity: int, seed: int) -> None:
    replay = filled(rows, capacity)

    batch = replay.sample(np.random.default_rng(seed), Sampling(batch_size=32, n_step=n_step, discount=0.5))

    for i in range(32):
        env, start = divmod(int(batch.observation_tm1[i, 0]), 100)
        assert max(0, rows - capacity) <= start < rows - n_step
        assert not (env == 0 and start % 6 == 5), "a reset is no transition"
        reward, discount, time = 0.0, 1.0, start
        for _ in range(n_step):
            reward += discount * time
            is_terminated = env == 0 and time % 6 == 4
            discount *= 0.0 if is_terminated else 0.5
            time += 1
            if is_terminated:
                break
        assert batch.reward_t[i] == reward
        assert batch.discount_t[i] == discount
        assert batch.observation_t[i, 0] == 100 * env + time
        assert batch.action_tm1[i] == env


def test_a_truncated_episode_keeps_its_bootstrap_and_no_reward_of_the_next_one() -> None:
    replay = Replay(20, 1, np.zeros(1, np.float32), np.zeros((), np.int64))
    for time in range(10):
        replay.add(step(time, 1, over=[0] if time == 4 else [], terminated=[], reset=[0] if time == 5 else []))

    batch = replay.sample(np.random.default_rng(0), Sampling(batch_size=200, n_step=3, discount=0.5))

    last = batch.observation_tm1[:, 0] == 4
    assert last.any()
    assert (batch.discount_t[last] == 0.5).all(), "one step was taken, and the value after it counts"
    assert (batch.reward_t[last] == 4).all()
    assert (batch.observation_t[last, 0] == 5).all(), "the last observation of the episode, not the first of the next"


def test_memory_stays_what_was_allocated() -> None:
    replay = filled(8, capacity=8)
    before = replay.nbytes

    for time in range(100):
        replay.add(step(time, 2, over=[], terminated=[], reset=[]))

    assert replay.nbytes == before
    assert len(replay) == 16


def test_sampling_before_there_is_enough_says_so() -> None:
    with pytest.raises(ValueError, match="expected more than 3 rows to sample from, got 2"):
        filled(2, capacity=8).sample(np.random.default_rng(0), Sampling(1, 3, 0.9))


def test_the_contents_survive_a_round_trip() -> None:
    replay, restored = filled(12, capacity=8), filled(0, capacity=8)
    restored.load_state(replay.state())
    again = restored.state()
    assert again["added"] == 8
    assert (again["rows"]["observation_tm1"][:, 1, 0] % 100).tolist() == [4, 5, 6, 7, 8, 9, 10, 11]
    assert (again["rows"]["reward_t"][:, 1]).tolist() == [4, 5, 6, 7, 8, 9, 10, 11]


def test_what_is_added_after_a_restore_continues_no_stored_transition() -> None:
    restored = filled(0, capacity=8)
    restored.load_state(filled(13, capacity=8).state())
    for time in (200, 201, 202):
        restored.add(step(time, 2, over=[], terminated=[], reset=[]))

    batch = restored.sample(np.random.default_rng(0), Sampling(400, 1, 0.9))

    gap = batch.observation_t[:, 0] % 100 - batch.observation_tm1[:, 0] % 100
    assert (gap == 1).all(), "each observation is followed by the one that came next in its own run"


def test_contents_are_restored_into_a_larger_memory() -> None:
    restored = filled(0, capacity=20)
    restored.load_state(filled(13, capacity=8).state())
    assert len(restored) == 16
    batch = restored.sample(np.random.default_rng(0), Sampling(400, 1, 0.9))
    assert set((batch.observation_tm1[:, 0] % 100).tolist()) <= set(range(5, 12))


def test_contents_of_another_shape_are_refused() -> None:
    with pytest.raises(CheckpointError, match="resume with the settings"):
        filled(0, capacity=4).load_state(filled(8, capacity=8).state())


def test_stacks_of_a_restored_memory_are_those_that_were_stored() -> None:
    replay = Replay(20, 1, np.zeros((3, 1), np.float32), np.zeros((), np.int64), stack=3)
    for time in range(50):
        stack = np.arange(time - 2, time + 1, dtype=np.float32)[None, :, None]
        replay.add(replace(step(time, 1, over=[], terminated=[], reset=[]), observation_tm1=stack))
    restored = Replay(20, 1, np.zeros((3, 1), np.float32), np.zeros((), np.int64), stack=3)
    restored.load_state(replay.state())
    batch = restored.sample(np.random.default_rng(0), Sampling(batch_size=500, n_step=1, discount=1.0))
    assert (np.diff(batch.observation_tm1[:, :, 0], axis=1) == 1).all()
