"""Two policies play the same games."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from polserve.training.environments.limits import LAST_SEED
from polserve.training.environments.making import EVALUATION_FIRST_SEED, EnvironmentSpec
from polserve.training.errors import FaultyEnvironment
from polserve.training.evaluation.episodes import play_episodes
from polserve.training.promotion.decision import MOST_GAMES
from polserve.training.promotion.match import Match, Side, first_seed, play_match, play_random
from polserve.training.tasks.adbudget.environment import ALLOCATION_ID
from polserve.training.versions.onnx_policy import OnnxPolicy
from polserve.training.versions.version import PolicyVersion
from tests.support.exports import export_arcade
from tests.support.running import ROOT, environment, wait_until
from tests.support.versions import make_allocator_version, make_version

CARTPOLE = EnvironmentSpec("CartPole-v1")
CRASHING = """
import os
import gymnasium as gym
from gymnasium.envs.classic_control import CartPoleEnv

class Crashing(CartPoleEnv):
    def step(self, action):
        os._exit(3)

gym.register("tests/Crashing-v0", Crashing)
"""


def side(version: PolicyVersion, folder: Path, spec: EnvironmentSpec = CARTPOLE) -> Side:
    return Side(version.write(folder / version.sha256) / "model.onnx", spec)


@pytest.fixture
def match(tmp_path: Path) -> Match:
    return Match(side(make_version(3), tmp_path), side(make_version(0), tmp_path), 30, EVALUATION_FIRST_SEED)


def test_game_i_of_either_is_played_on_seed_i(match: Match) -> None:
    ours, theirs = play_match(match, 1, lambda _: None)
    for games, each in ((ours, match.candidate), (theirs, match.champion)):
        assert games == play_episodes(OnnxPolicy(each.graph).act, CARTPOLE, 30, match.first_seed)


def test_a_policy_against_itself_plays_the_same_games(match: Match) -> None:
    ours, theirs = play_match(replace(match, champion=match.candidate), 1, lambda _: None)
    assert ours == theirs
    assert len(set(ours)) > 1


def test_the_number_of_processes_changes_no_game(match: Match) -> None:
    played: list[int] = []
    assert play_match(match, 2, played.append) == play_match(match, 1, lambda _: None)
    assert sum(played) == 30


def test_the_random_policy_plays_the_first_games_in_whatever_number_of_processes(match: Match) -> None:
    games = play_random(match, 1, lambda _: None)
    assert len(games) == 30
    assert 10 < np.mean([game.length for game in games]) < 40
    assert play_random(match, 2, lambda _: None) == games
    assert len(play_random(replace(match, episodes=500, max_steps=1), 1, lambda _: None)) == 100


@pytest.mark.parametrize("processes", [1, 2])
def test_a_game_that_ends_its_process_is_told_with_whose_it_was_and_its_seeds(
    match: Match, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    (tmp_path / "crashing.py").write_text(CRASHING)
    monkeypatch.syspath_prepend(tmp_path)
    crashing = EnvironmentSpec("tests/Crashing-v0", module="crashing")
    broken = replace(match, champion=replace(match.champion, environment=crashing), episodes=12, is_apart=True)
    told = "ended by itself during the champion's games on seeds 2000000000 to 2000000011: the simulator crashed"
    with pytest.raises(FaultyEnvironment, match=told):
        play_match(broken, processes, lambda _: None)


def test_policies_of_stacked_frames_play(tmp_path: Path) -> None:
    version, _ = export_arcade()
    arcade = side(version, tmp_path, EnvironmentSpec("ALE/MsPacman-v5", frames=4))
    ours, theirs = play_match(Match(arcade, arcade, 1, first_seed(version.sha256)), 1, lambda _: None)
    assert ours == theirs
    assert ours[0].episode_return > 0


def test_allocators_play_and_their_returns_are_sales(tmp_path: Path) -> None:
    allocator = side(make_allocator_version(), tmp_path, EnvironmentSpec(ALLOCATION_ID, {"n_channels": 2}))
    ours, theirs = play_match(Match(allocator, allocator, 2, EVALUATION_FIRST_SEED), 1, lambda _: None)
    assert ours == theirs
    assert min(game.episode_return for game in ours) > 0


def test_the_seed_follows_from_the_two_versions_in_either_order() -> None:
    assert first_seed("a", "b") == first_seed("b", "a") != first_seed("a", "c")


def test_every_seed_lies_above_trainings_and_below_what_emulators_take() -> None:
    seeds = [first_seed(str(number)) for number in range(1_000)]
    assert min(seeds) >= EVALUATION_FIRST_SEED
    assert max(seeds) + MOST_GAMES <= LAST_SEED + 1
    assert len(set(seeds)) == 1_000


PROGRAM = """
import sys
from pathlib import Path
from polserve.training.environments.making import EnvironmentSpec
from polserve.training.promotion.match import Match, Side, play_match

if __name__ == "__main__":
    side = Side(Path(sys.argv[1]), EnvironmentSpec("CartPole-v1"))
    play_match(Match(side, side, 10_000, 2_000_000_000), 2, lambda _: print("played", flush=True))
"""


@pytest.mark.acceptance
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_processes_end_with_their_parent(number: signal.Signals, match: Match, tmp_path: Path) -> None:
    script, log = tmp_path / "program.py", tmp_path / "log"
    script.write_text(PROGRAM)
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, script, match.candidate.graph],
            stdout=output,
            stderr=output,
            env=environment(PYTHONPATH=str(ROOT)),
        )
    try:
        wait_until(lambda: "played" in log.read_text(), log)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        process.wait(60)
    finally:
        process.kill()
        process.wait()
    assert len(children) >= 2
    until = time.monotonic() + 60
    while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children):
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.05)
