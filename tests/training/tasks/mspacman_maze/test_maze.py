"""Ms. Pac-Man by her mazes: what is read from frames is right, and the exported graph reads it as training does."""

from collections.abc import Sequence
from typing import Any

import ale_py
import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import VectorWrapper
from numpy.typing import NDArray

from polserve.protos.shared.names import GOLDEN_FILE
from polserve.training.environments.making import EnvironmentSpec, VecEnv, make_vec
from polserve.training.registry.lookup import BUNDLED
from polserve.training.runs.initial_weights import read_weights_of
from polserve.training.runs.presets import PRESETS
from polserve.training.tasks.atari.vector import AS_GYMNASIUM_MAKES_IT
from polserve.training.tasks.mspacman_maze.features import N_FEATURES, N_OF_A_WAY, MazeFeatures, features
from polserve.training.tasks.mspacman_maze.mazes import (
    DIRECTIONS,
    ENERGIZERS,
    FAR,
    N_CELLS,
    N_COLUMNS,
    OPPOSITE,
    mazes,
)
from polserve.training.tasks.mspacman_maze.network import AllActions, WayNetwork
from polserve.training.tasks.mspacman_maze.sight import FRAME_SHAPE, Eye, see
from polserve.training.tasks.mspacman_maze.situation import N_FRAMES, Situations
from polserve.training.tasks.mspacman_maze.vector import MazeVec, make_mazes

PEN = {row * N_COLUMNS + column for row in (5, 6) for column in (8, 9)}
"""Cells of the ghosts' pen, in every maze."""
GAME = EnvironmentSpec("ALE/MsPacman-v5", frames=N_FRAMES)


@pytest.fixture(scope="module")
def frames() -> NDArray[np.uint8]:
    """Frames of a game played at random."""
    gym.register_envs(ale_py)
    env = gym.make("ALE/MsPacman-v5")
    seen = [env.reset(seed=7)[0]]
    env.action_space.seed(7)
    seen += [env.step(env.action_space.sample())[0] for _ in range(150)]
    env.close()
    return np.array(seen)


def stacks(frames: NDArray[np.uint8], ends: Sequence[int]) -> NDArray[np.uint8]:
    """Stacks (n, 4, 210, 160, 3) that end with the frames of those numbers."""
    return np.stack([frames[end - N_FRAMES + 1 : end + 1] for end in ends])


def test_numpy_and_torch_see_the_same(frames: NDArray[np.uint8]) -> None:
    by_torch = Eye()(torch.from_numpy(frames))
    for name, mine, its in zip(by_torch._fields, see(frames), by_torch, strict=True):
        seen = by_torch.is_seen if name == "place" else torch.ones(1, dtype=torch.bool)
        assert (
            torch.equal(torch.where(seen[..., None], mine, 0), torch.where(seen[..., None], its, 0))
            if (name == "place")
            else torch.equal(mine, its)
        ), name


def test_the_first_frame_shows_the_first_maze_all_its_pellets_and_everyone(frames: NDArray[np.uint8]) -> None:
    sight = see(frames[:1])
    first = mazes().is_open[0]
    assert (sight.is_open[0].numpy() == first).mean() > 0.98
    assert sight.has_pellet.sum() > 140
    pellets = see(frames[:8]).has_pellet.any(0)  # energizers blink
    assert all(pellets[row * N_COLUMNS + column] for row, column in ENERGIZERS)
    assert sight.is_seen[0, 0]
    assert see(frames[1:3]).is_seen.any(0).sum() >= 4, "ghosts are drawn in turn"


def test_her_place_moves_with_her(frames: NDArray[np.uint8]) -> None:
    places = see(frames[60:150]).place[:, 0].numpy()
    moved = np.abs(np.diff(places, axis=0)).max(1)
    assert moved.max() > 1
    assert np.median(moved) < 12, "a step of four frames is less than a cell and a half"


def test_the_ways_of_a_maze_are_mutual_and_lead_everywhere() -> None:
    tables = mazes()
    for maze in range(4):
        for cell in range(N_CELLS):
            row, column = divmod(cell, N_COLUMNS)
            for way, (down, right) in enumerate(DIRECTIONS):
                there = (row + down) * N_COLUMNS + (column + right) % N_COLUMNS
                if tables.is_way[maze, way, cell]:
                    assert tables.distance[maze, way, cell, there] == 1
                    assert tables.is_way[maze, OPPOSITE[way], there] or cell in PEN, "only the pen has no way back"
        starts = [row * N_COLUMNS + column for row, column in ENERGIZERS]
        nearest = tables.distance[maze, :, starts].min(1)
        assert (nearest[:, starts] < FAR).all(), "each energizer is reached from each other"


def test_a_ghost_does_not_turn_back_at_once() -> None:
    tables = mazes()
    corridor = 2 * N_COLUMNS + 5  # in the first maze's third row, which is open from side to side
    behind, heading_right = corridor - 1, 1
    assert tables.ghost_distance[0, 4, corridor, behind] == 1
    assert tables.ghost_distance[0, heading_right, corridor, behind] > 1


class _Recorded(VectorWrapper):
    """Games whose frames are kept."""

    def __init__(self, games: VecEnv) -> None:
        super().__init__(games)
        self.frames: list[NDArray[np.uint8]] = []

    def step(self, actions: NDArray[Any]) -> Any:
        result = super().step(actions)
        self.frames.append(result[0].reshape(-1, *FRAME_SHAPE).copy())
        return result


def test_training_and_the_graph_have_the_same_features_of_the_same_frames() -> None:
    recorded = _Recorded(make_vec(EnvironmentSpec(GAME.id, AS_GYMNASIUM_MAKES_IT), 2))
    games = MazeVec(recorded)
    try:
        games.reset(seed=3)
        rng = np.random.default_rng(3)
        observations = [games.step(rng.integers(1, 5, 2))[0] for _ in range(40)]
    finally:
        games.close()
    for last in (5, 20, 39):
        stack = torch.from_numpy(np.stack(recorded.frames[last - N_FRAMES + 1 : last + 1], 1))
        assert np.array_equal(MazeFeatures()(stack).numpy(), observations[last])


def test_an_episodes_first_frame_fills_what_is_remembered(frames: NDArray[np.uint8]) -> None:
    games = make_mazes(GAME, 1)
    try:
        observation, _ = games.reset(seed=7)
    finally:
        games.close()
    assert np.array_equal(MazeFeatures()(torch.from_numpy(frames[[[0] * N_FRAMES]])).numpy(), observation)


def test_the_way_to_the_last_pellet_is_told_however_far_it_is(frames: NDArray[np.uint8]) -> None:
    sight = see(frames[:1])
    last = torch.zeros(1, N_CELLS, dtype=torch.bool)
    last[0, 1] = True  # she begins near the bottom
    situation = Situations()([sight._replace(has_pellet=last, is_covered=torch.zeros_like(last))] * N_FRAMES)
    steps = situation.steps[0, :, last[0].nonzero()[0, 0]]
    assert 8 < steps.min() < FAR
    shortest = (steps == steps.min()).to(torch.float32)
    assert not torch.equal(shortest, situation.is_way[0].to(torch.float32))
    told = features(situation)[0, : 4 * N_OF_A_WAY].view(4, N_OF_A_WAY)
    assert any(torch.equal(feature, shortest) for feature in told.T), "one feature is 1 for that way, and 0 for others"


@pytest.mark.parametrize("maze", range(4))
def test_each_maze_is_known_by_its_walls(frames: NDArray[np.uint8], maze: int) -> None:
    is_open = torch.from_numpy(mazes().is_open[maze])
    sight = see(frames[-1:])
    for hidden in range(0, N_CELLS, 25):  # a figure stands before a wall
        seen = is_open.clone()
        seen[hidden] = ~seen[hidden]
        assert Situations()([sight._replace(is_open=seen[None])] * N_FRAMES).maze == maze


@pytest.mark.parametrize("game", ["noise", "black", "white", "another game's"])
def test_a_screen_of_another_game_is_answered_with_numbers_too(game: str) -> None:
    rng = np.random.default_rng(0)
    pictures = {
        "noise": rng.integers(0, 256, (2, N_FRAMES, *FRAME_SHAPE), dtype=np.uint8),
        "black": np.zeros((2, N_FRAMES, *FRAME_SHAPE), np.uint8),
        "white": np.full((2, N_FRAMES, *FRAME_SHAPE), 255, np.uint8),
        "another game's": np.broadcast_to(_breakout(), (2, N_FRAMES, *FRAME_SHAPE)).copy(),
    }
    features = MazeFeatures()(torch.from_numpy(pictures[game]))
    assert features.shape == (2, N_FEATURES)
    assert features.isfinite().all()


def _breakout() -> NDArray[np.uint8]:
    env = gym.make("ALE/Breakout-v5")
    try:
        frame: NDArray[np.uint8] = env.reset(seed=0)[0]
    finally:
        env.close()
    return frame


def test_the_nine_actions_have_the_values_of_the_four_ways_and_else_the_least() -> None:
    values = torch.tensor([[3.0, 1.0, 2.0, 4.0]])
    assert AllActions()(values).tolist() == [[1.0, 3.0, 1.0, 2.0, 4.0, 1.0, 1.0, 1.0, 1.0]]


def test_a_run_can_begin_with_the_weights_in_the_bundled_graph() -> None:
    bundled = BUNDLED / "mspacman-maze" / "1"
    network = WayNetwork(PRESETS["mspacman-maze"].network)
    weights, initial = read_weights_of(bundled)
    network.load_state_dict({name: weights[name] for name in network.state_dict()})
    golden = np.load(bundled / GOLDEN_FILE, allow_pickle=False)
    with torch.no_grad():
        values = AllActions()(network(MazeFeatures()(torch.from_numpy(golden["observation"][:8]))))
    np.testing.assert_allclose(values.numpy(), golden["values"][:8], rtol=1e-4, atol=1e-4)
    assert initial.environment_steps == 5_678_725
