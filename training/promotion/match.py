"""A match: two policies play the same games."""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias, TypeVar

from polserve.training.environments.limits import EVALUATION_EPISODES, LAST_SEED, MATCH_ENVS, MAX_EVALUATION_STEPS
from polserve.training.environments.making import EVALUATION_FIRST_SEED, EnvironmentSpec
from polserve.training.errors import FaultyEnvironment
from polserve.training.evaluation.episodes import play_episodes, random_policy
from polserve.training.evaluation.evaluation import RANDOM
from polserve.training.learning.collector import ChooseActions, FinishedEpisode
from polserve.training.machine.workers import worker_pool
from polserve.training.promotion.decision import MOST_GAMES
from polserve.training.versions.onnx_policy import OnnxPolicy

Games: TypeAlias = list[FinishedEpisode]
"""The games of one side; game i was played on the seed that is i above the first."""
Played = TypeVar("Played")
_NOTE: ContextVar[Path | None] = ContextVar("note", default=None)
"""In a process of a pool, the file that says what it plays; None elsewhere."""

CHUNK = 12
"""Games of each policy that a process plays at once; how many processes there are changes no game."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a match: a policy, and the environment that its spec states."""

    graph: Path
    environment: EnvironmentSpec


@dataclass(frozen=True, slots=True)
class Match:
    """Two sides and the games that both play."""

    candidate: Side
    champion: Side
    episodes: int
    """Games of each side."""
    first_seed: int
    max_steps: int = MAX_EVALUATION_STEPS
    """Steps after which a game is cut off."""
    is_apart: bool = False
    """Whether one process that plays is another than this one, too, which survives a game that ends its process."""
    envs: int = MATCH_ENVS
    """Environments that each process plays in together at most."""

    @property
    def random_games(self) -> int:
        """Games that tell the random policy's mean where no record does."""
        return min(self.episodes, EVALUATION_EPISODES)


def first_seed(*sha256: str) -> int:
    """Return the seed of the first game between the versions with these checksums, in whatever order.

    The same for the same two, so that nobody asks again until the games are lucky ones, and another for others, so that
    no policy is chosen for being good at one fixed set of games.
    """
    digest = hashlib.sha256("".join(sorted(sha256)).encode()).digest()
    room = LAST_SEED + 1 - MOST_GAMES - EVALUATION_FIRST_SEED
    return EVALUATION_FIRST_SEED + int.from_bytes(digest[:8], "big") % room


def play_match(match: Match, processes: int, on_played: Callable[[int], None]) -> tuple[Games, Games]:
    """Play the match; return the games of the candidate and of the champion.

    Args:
        match: who plays which games.
        processes: processes that play; how many there are changes no game.
        on_played: hears, as games end, how many more pairs of games are over.

    Raises:
        TrainingError: an environment cannot be made.
        FaultyEnvironment: an environment is at fault, or a process died, as where a simulator crashes.
    """
    both = _in_chunks(partial(_play_both, match), match, match.episodes, processes, on_played)
    return _joined([ours for ours, _ in both]), _joined([theirs for _, theirs in both])


def play_random(match: Match, processes: int, on_played: Callable[[int], None]) -> Games:
    """Play the first games of the match, `random_games` of them, by the policy that draws every action at random.

    Arguments and errors are those of `play_match`.
    """
    chunks = _in_chunks(partial(_play_random, match), match, match.random_games, processes, on_played)
    return _joined(chunks)


def _in_chunks(
    play: Callable[[int, int], Played], match: Match, episodes: int, processes: int, on_played: Callable[[int], None]
) -> list[Played]:
    """Call `play` with the first seed and the number of games of each chunk; return what it returns, in order."""
    starts = range(0, episodes, CHUNK)
    sizes = [min(CHUNK, episodes - start) for start in starts]
    seeds = [match.first_seed + start for start in starts]
    played: dict[int, Played] = {}
    if processes == 1 and not match.is_apart:
        for seed, size in zip(seeds, sizes, strict=True):
            played[seed] = play(seed, size)
            on_played(size)
    else:
        with TemporaryDirectory() as notes, worker_pool(min(processes, len(seeds))) as pool:
            play = partial(_noted, Path(notes), play)
            futures = {pool.submit(play, seed, size): (seed, size) for seed, size in zip(seeds, sizes, strict=True)}
            try:
                for future in as_completed(futures):
                    seed, size = futures[future]
                    played[seed] = future.result()
                    on_played(size)
            except BrokenProcessPool as error:
                raise FaultyEnvironment(_said_of_death(Path(notes), processes)) from error
    return [played[seed] for seed in seeds]


def _noted(notes: Path, play: Callable[[int, int], Played], seed: int, episodes: int) -> Played:
    """Play, in a process of the pool; what is being played stands in a file until it is over."""
    note = notes / str(os.getpid())
    _NOTE.set(note)
    played = play(seed, episodes)
    note.unlink(missing_ok=True)
    return played


def _note(role: str, seed: int, episodes: int) -> None:
    """Write down whose games are being played, for whoever finds that this process died."""
    if (note := _NOTE.get()) is not None:
        note.write_text(f"the {role}'s games on seeds {seed} to {seed + episodes - 1}")


def _said_of_death(notes: Path, processes: int) -> str:
    """Say what was being played as a process died."""
    playing = sorted(note.read_text() for note in notes.iterdir())
    apart = "; with --processes 1 it is told which of these games did it" if processes > 1 and len(playing) > 1 else ""
    during = f" during {', or '.join(playing)}" if playing else ""
    return (
        f"a process that played ended by itself{during}: the simulator crashed, or memory ran out{apart}; "
        "mend the environment, or try fewer --processes where memory ran out"
    )


def _play_both(match: Match, seed: int, episodes: int) -> tuple[Games, Games]:
    played = []
    for role, side in (("candidate", match.candidate), ("champion", match.champion)):
        _note(role, seed, episodes)
        try:
            choose_actions = OnnxPolicy(side.graph).player()
            played.append(_play(match, choose_actions, side.environment, seed, episodes))
        except FaultyEnvironment as error:
            raise FaultyEnvironment(f"in a game of the {role}, {error}") from error
    ours, theirs = played
    return ours, theirs


def _play_random(match: Match, seed: int, episodes: int) -> Games:
    environment = match.champion.environment
    _note(f"{RANDOM} policy", seed, episodes)
    try:
        choose_actions = random_policy(environment, LAST_SEED - seed)  # far from the seeds that games begin with
        return _play(match, choose_actions, environment, seed, episodes)
    except FaultyEnvironment as error:
        raise FaultyEnvironment(f"in a game of the {RANDOM} policy, {error}") from error


def _play(match: Match, choose_actions: ChooseActions, environment: EnvironmentSpec, seed: int, episodes: int) -> Games:
    return play_episodes(choose_actions, environment, episodes, seed, match.max_steps, most_envs=match.envs)


def _joined(parts: Sequence[Games]) -> Games:
    return [game for part in parts for game in part]
