"""A policy that sees colour frames: one a step in an episode, or a stack that the client keeps."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from polserve.serving.client import ClientError, PolicyClient
from polserve.training.environments.making import EnvironmentSpec, make_env
from polserve.training.evaluation.episodes import greedy
from polserve.training.learning.networks import GreedyPolicy
from polserve.training.play import Player, play_on_service
from polserve.training.tasks.atari.screens import to_screens
from polserve.training.tasks.atari.vector import make_screens
from tests.support.exports import export_arcade
from tests.support.running import service, wait_until

GAME = EnvironmentSpec("ALE/MsPacman-v5", {"repeat_action_probability": 0.0})


@pytest.fixture(scope="module")
def arcade(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PolicyClient]:
    """A client of a service that plays."""
    folder = tmp_path_factory.mktemp("arcade")
    export_arcade()[0].write(folder / "policies" / "arcade" / "1")
    with service("--policies", str(folder / "policies"), folder=folder) as running:
        wait_until(running.is_up, running.log)
        with PolicyClient(running.target) as client:
            yield client


def frames(n: int) -> NDArray[np.uint8]:
    """Frames (n, 210, 160, 3) of a game, one a step."""
    env = make_env(GAME)
    env.action_space.seed(0)
    seen = [env.reset(seed=0)[0]]
    seen.extend(env.step(env.action_space.sample())[0] for _ in range(n - 1))
    env.close()
    return np.stack(seen)


def test_an_episode_of_frames_is_played_as_the_network_plays_it_in_training(arcade: PolicyClient) -> None:
    envs = make_screens(EnvironmentSpec(GAME.id, GAME.kwargs, frames=4), 1)
    env = make_env(GAME)
    choose = greedy(GreedyPolicy(export_arcade()[1]))
    screens, _ = envs.reset(seed=0)
    frame, _ = env.reset(seed=0)
    actions = np.random.default_rng(0).integers(9, size=40)
    with arcade.episode("arcade") as episode:
        for action in actions:
            assert episode.act(frame).action == choose(screens)[0]
            frame = env.step(action)[0]
            screens = envs.step(np.array([action]))[0]
    envs.close()
    env.close()


def test_a_stack_that_the_client_keeps_gets_the_action_of_an_episode(arcade: PolicyClient) -> None:
    seen = frames(8)
    with arcade.episode("arcade", with_values=True) as episode:
        answers = [episode.act(frame) for frame in seen]
    for last in range(3, 8):
        alone = arcade.act("arcade", seen[last - 3 : last + 1], with_values=True)
        assert alone.action == answers[last].action
        assert alone.values is not None
        assert alone.values.tolist() == answers[last].values.tolist()  # type: ignore[union-attr]


def test_the_graph_gives_the_networks_values(arcade: PolicyClient) -> None:
    seen = frames(4)
    with torch.no_grad():
        expected = export_arcade()[1](torch.from_numpy(to_screens(seen[None])))[0].numpy()
    answer = arcade.act("arcade", seen, with_values=True)
    assert answer.values == pytest.approx(expected, abs=1e-5)


STACK = np.zeros((4, 210, 160, 3), np.uint8)


@pytest.mark.parametrize(
    ("stack", "got"),
    [
        (np.zeros((4, 105, 80, 3), np.uint8), r"\(4, 105, 80, 3\)"),
        (np.zeros((4, 210, 160, 4), np.uint8), r"\(4, 210, 160, 4\)"),
        (STACK[:3], r"\(3, 210, 160, 3\)"),
        (STACK.astype(np.float32) + 0.5, r"whole numbers from 0 to 255, got \d+\.5 at"),
    ],
    ids=["another size", "with alpha", "three frames", "fractions"],
)
def test_frames_that_are_none_of_the_policys_are_refused(
    arcade: PolicyClient, stack: NDArray[np.uint8], got: str
) -> None:
    with pytest.raises(ClientError, match=rf"(?is)expected.*{got}"):
        arcade.act("arcade", stack)


def test_a_frame_with_alpha_is_refused_in_an_episode_and_another_can_be_played(arcade: PolicyClient) -> None:
    with arcade.episode("arcade") as episode, pytest.raises(ClientError, match=r"\(210, 160, 3\)"):
        episode.act(np.zeros((210, 160, 4), np.uint8))
    with arcade.episode("arcade") as episode:
        assert 0 <= int(episode.act(STACK[0]).action) < 9


def test_a_frame_of_another_game_is_answered_since_it_cannot_be_told(arcade: PolicyClient) -> None:
    env = make_env(EnvironmentSpec("ALE/Pong-v5"))
    frame = env.reset(seed=0)[0]
    env.close()
    with arcade.episode("arcade") as episode:
        assert 0 <= int(episode.act(frame).action) < 9


def test_play_sends_each_frame_once_and_the_service_stacks_them(arcade: PolicyClient) -> None:
    drawn: list[tuple[int, ...]] = []
    (played,) = play_on_service(Player(arcade, "arcade"), 1, on_frame=lambda frame: drawn.append(frame.shape))
    assert played.versions == ("1",)
    assert len(drawn) == played.length
    assert set(drawn) == {(210, 160, 3)}
