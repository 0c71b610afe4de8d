"""Atari games as stacks of grey screens: what the learner sees is what the exported graph makes of the frames."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from polserve.training.environments.making import EnvironmentSpec, make_env, make_vec
from polserve.training.errors import UnsupportedEnvironment
from polserve.training.learning.collector import Collector
from polserve.training.learning.replay import Replay
from polserve.training.learning.transitions import Sampling
from polserve.training.tasks.atari.screens import Framing, Screens, to_screens
from polserve.training.tasks.atari.vector import AS_GYMNASIUM_MAKES_IT, ScreenVec, make_screens

GAME = EnvironmentSpec("ALE/MsPacman-v5", frames=4)


@pytest.fixture(scope="module")
def games() -> Iterator[ScreenVec]:
    """Three games with short lives."""
    envs = make_screens(GAME, 3)
    yield envs
    envs.close()


def recorded_stacks(n_steps: int) -> NDArray[np.uint8]:
    """Stacks (n, 4, 210, 160, 3) that one game emitted under random actions."""
    env = make_env(GAME)
    env.action_space.seed(0)
    stacks = [env.reset(seed=0)[0]]
    stacks.extend(env.step(env.action_space.sample())[0] for _ in range(n_steps - 1))
    env.close()
    return np.stack(stacks)


def test_the_graphs_screens_are_the_learners_bit_by_bit() -> None:
    stacks = recorded_stacks(120)
    noise = np.random.default_rng(0).integers(256, size=(8, 4, 210, 160, 3), dtype=np.uint8)
    for frames in (stacks, noise):
        assert np.array_equal(Screens()(torch.from_numpy(frames)).numpy(), to_screens(frames))


def test_background_is_black_and_every_other_pixel_a_third_of_its_colours() -> None:
    frame = np.zeros((210, 160, 3), np.uint8)
    frame[1, 0], frame[3, 2], frame[5, 4], frame[0, 0], frame[177, 0] = (210, 164, 74), (210, 164, 75), 255, 9, 9
    screen = to_screens(frame)
    assert (screen[0, 0], screen[1, 1], screen[2, 2]) == (0, 149, 255)
    assert screen.sum() == 149 + 255


def test_of_any_other_game_the_whole_frame_is_seen() -> None:
    framing = Framing.of("ALE/Breakout-v5")
    frames = np.random.default_rng(0).integers(256, size=(8, 4, 210, 160, 3), dtype=np.uint8)
    screens = to_screens(frames, framing)
    assert screens.shape == (8, 4, *framing.shape) == (8, 4, 105, 80)
    assert np.array_equal(Screens(framing)(torch.from_numpy(frames)).numpy(), screens)
    frame = np.zeros((210, 160, 3), np.uint8)
    frame[1], frame[209], frame[:, 0] = (210, 164, 74), 255, 90
    seen = to_screens(frame, framing)
    assert (seen[0, 5], seen[104, 5], seen[50, 0]) == (149, 255, 90), "no colour is made black, no edge cut off"


def test_the_vector_environment_plays_as_gymnasiums_single_ones_do() -> None:
    calm = {"repeat_action_probability": 0.0}
    actions = np.random.default_rng(1).integers(9, size=(60, 3))
    singles = [make_env(EnvironmentSpec(GAME.id, calm, frames=4)) for _ in range(3)]
    vector = ScreenVec(make_vec(EnvironmentSpec(GAME.id, {**calm, **AS_GYMNASIUM_MAKES_IT}), 3), GAME)
    stacks = [single.reset(seed=seed)[0] for seed, single in enumerate(singles)]
    assert np.array_equal(vector.reset(seed=0)[0], to_screens(np.stack(stacks)))
    for chosen in actions:
        results = [single.step(action) for single, action in zip(singles, chosen, strict=True)]
        screens, rewards, *_ = vector.step(chosen)
        assert np.array_equal(screens, to_screens(np.stack([stack for stack, *_ in results])))
        assert [reward for _, reward, *_ in results] == rewards.tolist()
    vector.close()
    for single in singles:
        single.close()


def test_a_sampled_stack_is_the_stack_that_the_games_emitted(games: ScreenVec) -> None:
    collector = Collector(games, [3, 4, 5], is_life_terminal=True)
    rng = np.random.default_rng(0)
    replay = Replay(3_000, 3, np.zeros((4, 88, 80), np.uint8), np.zeros((), np.int64), stack=4)
    emitted: dict[bytes, int] = {}
    n_over = n_lost = 0
    for _ in range(900):
        step = collector.step(lambda stacks: rng.integers(9, size=len(stacks)))
        replay.add(step)
        emitted.update({stack.tobytes(): 1 for stack in step.observation_tm1})
        n_over += int(step.is_over.sum())
        n_lost += int(step.is_terminated.sum())
    assert n_over > 0
    assert n_lost > n_over  # lives were lost in the middle of games
    batch = replay.sample(rng, Sampling(500, 3, 0.99))
    for observation in (*batch.observation_tm1, *batch.observation_t):
        assert observation.tobytes() in emitted


def test_an_episodes_return_spans_all_its_lives(games: ScreenVec) -> None:
    collector = Collector(games, [5, 6, 7], is_life_terminal=True)
    rng = np.random.default_rng(0)
    paid = 0.0
    while not (finished := collector.finished()):
        step = collector.step(lambda stacks: rng.integers(9, size=len(stacks)))
        paid += float(step.reward_t[0])
        if step.is_over[0]:
            finished = collector.finished()
            break
    assert paid in [episode.episode_return for episode in finished]


def test_a_game_begins_with_its_first_frame_in_the_whole_stack(games: ScreenVec) -> None:
    stacks, _ = games.reset(seed=1)
    assert (stacks == stacks[:, :1]).all()


def test_an_environment_without_frames_is_refused() -> None:
    with pytest.raises(UnsupportedEnvironment, match="expected frames of"):
        make_screens(EnvironmentSpec("CartPole-v1", frames=4), 2)
