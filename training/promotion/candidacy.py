"""From a candidacy to its evidence: both versions are fetched, checked, and play the same games."""

import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.training.environments.inspection import check_fits
from polserve.training.environments.limits import MATCH_ENVS, MAX_EVALUATION_STEPS
from polserve.training.environments.makers import EnvMaker
from polserve.training.environments.making import from_message
from polserve.training.errors import (
    FaultyEnvironment,
    InvalidOption,
    PromotionRefused,
    UnknownEnvironment,
    UnsupportedEnvironment,
)
from polserve.training.evaluation.comparison import compare
from polserve.training.evaluation.episodes import cut_off
from polserve.training.evaluation.evaluation import RANDOM
from polserve.training.evaluation.game_progress import GameProgress
from polserve.training.learning.collector import FinishedEpisode
from polserve.training.promotion.decision import Candidacy
from polserve.training.promotion.evidence import Evidence
from polserve.training.promotion.match import Match, Played, Side, first_seed, play_match, play_random
from polserve.training.registry.versions import PolicyRegistry
from polserve.training.tasks.catalog import margin
from polserve.training.versions.onnx_policy import OnnxPolicy

LONGEST_TOLD = 400
"""Most characters of two environments that an error has; of longer ones it names only what differs."""
ALL_THE_SAME = "with --force --reason it is promoted all the same"


@dataclass(frozen=True, slots=True)
class PlaySettings:
    """Settings of the games of a candidacy."""

    processes: int = 1
    """Processes that play; how many there are changes no game."""
    first_seed: int | None = None
    """Seed of the first game; None for the one that follows from the two versions."""
    max_steps: int = MAX_EVALUATION_STEPS
    """Steps after which a game is cut off."""
    module: str = ""
    """Module that registers the environment; "" where Gymnasium knows it."""
    maker: EnvMaker | None = None
    """What makes the environment in place of its id; the games are played in this process then."""
    is_apart: bool = False
    """Whether one process that plays is another than this one, too."""
    envs: int = MATCH_ENVS
    """Environments that each process plays in together at most."""


def gather_evidence(
    registry: PolicyRegistry, candidacy: Candidacy, settings: PlaySettings, progress: GameProgress
) -> Evidence:
    """Let the candidate and the champion play the same games, and compare their returns.

    Raises:
        PromotionRefused: the two cannot play the same games, or a game ended with no finite return.
        RegistryError: a version cannot be had, or is not what was registered.
    """
    with tempfile.TemporaryDirectory() as folder:
        ours = _FetchedVersion.fetch(registry, candidacy.policy, candidacy.candidate, Path(folder))
        theirs = _FetchedVersion.fetch(registry, candidacy.policy, str(candidacy.champion), Path(folder))
        candidate, cautions = ours.side(settings)
        for caution in cautions:
            progress.note(f"note: {caution}")
        check_comparable(ours, theirs)
        champion, _ = theirs.side(settings)
        episodes = candidacy.criteria.episodes
        seed = first_seed(ours.sha256, theirs.sha256) if settings.first_seed is None else settings.first_seed
        title = f"{ours.name} and {theirs.name} play {episodes} games of {ours.spec.environment.id}, on the same seeds"
        match = Match(candidate, champion, episodes, seed, settings.max_steps, settings.is_apart, settings.envs)
        with progress.playing(title, episodes) as on_played:
            games = _or_refused(lambda: play_match(match, settings.processes, on_played))
    for version, played in zip((ours, theirs), games, strict=True):
        if part := cut_off(played, settings.max_steps, "--max-steps lets them go on"):
            progress.note(f"warning: {version.name}: {part}")
        _check_finite(version.name, played, seed)
    returns = ([game.episode_return for game in games[0]], [game.episode_return for game in games[1]])
    comparison, environment = compare(*returns), ours.spec.environment.id
    random_mean = _random_mean(match, theirs.spec, settings.processes, progress)
    loss_allowed = candidacy.criteria.loss_allowed(comparison.champion.mean, random_mean, margin(environment))
    played_as = (ours.name, theirs.name, environment, seed, settings.max_steps)
    return Evidence(*played_as, *returns, comparison, random_mean, loss_allowed)


def check_evaluated(registry: PolicyRegistry, candidacy: Candidacy) -> None:
    """Raise PromotionRefused where the candidate has no returns at all: an import without its environment."""
    with tempfile.TemporaryDirectory() as folder:
        spec = _FetchedVersion.fetch(registry, candidacy.policy, candidacy.candidate, Path(folder)).spec
    if not spec.HasField("evaluation"):
        where = spec.environment.id or "no environment"
        raise PromotionRefused(
            f"{candidacy.name} was never evaluated (it was imported with {where}, which was not installed there), and "
            f"there is no champion to play against; {ALL_THE_SAME}"
        )


@dataclass(frozen=True, slots=True)
class _FetchedVersion:
    """A version as downloaded."""

    name: str
    graph: Path
    sha256: str
    spec: pb.PolicySpec

    @classmethod
    def fetch(cls, registry: PolicyRegistry, policy: str, version: str, folder: Path) -> "_FetchedVersion":
        """Download the version's graph, which is the one that was registered."""
        graph, sha256 = registry.graph(policy, version, folder / version)
        return cls(f"{policy}/{version}", graph, sha256, OnnxPolicy(graph).spec)

    def side(self, settings: PlaySettings) -> tuple[Side, Sequence[str]]:
        """Return the version as it plays in its own environment, and cautions on what returns in that do not mean."""
        if not self.spec.environment.id:
            raise PromotionRefused(f"{self.name} names no environment that it could play in; {ALL_THE_SAME}")
        environment = replace(from_message(self.spec, settings.module), maker=settings.maker)
        try:
            cautions = check_fits(environment, self.spec)
        except (UnknownEnvironment, UnsupportedEnvironment, FaultyEnvironment, InvalidOption) as error:
            raise PromotionRefused(f"{self.name} cannot play: {error}; {ALL_THE_SAME}") from error
        return Side(self.graph, environment), cautions


def check_comparable(ours: _FetchedVersion, theirs: _FetchedVersion) -> None:
    """Raise PromotionRefused where the two were not trained for the same environment."""
    mine, other = ours.spec.environment, theirs.spec.environment
    names = differences(*(json.loads(each.kwargs_json or "{}") for each in (mine, other)))
    if mine.id == other.id and not names:
        return
    here, there = (f"{each.id} {each.kwargs_json}" for each in (mine, other))
    if mine.id == other.id and len(here) + len(there) > LONGEST_TOLD:
        here, there = mine.id, f"one with another {', '.join(names)}"
    raise PromotionRefused(
        f"the returns of {ours.name} in {here} and of {theirs.name} in {there} cannot be compared; {ALL_THE_SAME}"
    )


def differences(ours: Mapping[str, object], theirs: Mapping[str, object]) -> list[str]:
    """Names of what differs between two JSON objects, and within those that they hold, such as account.channels."""
    found = []
    for name in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(name), theirs.get(name)
        if isinstance(mine, dict) and isinstance(other, dict):
            found += [f"{name}.{field}" for field in differences(mine, other)]
        elif mine != other:
            found.append(name)
    return found


def recorded_random_mean(spec: pb.PolicySpec, max_steps: int) -> float | None:
    """Return the random policy's mean return that the evaluation of a version found; None for games of other lengths.

    Args:
        spec: what the version says of itself.
        max_steps: steps after which the games are cut off that the mean stands beside.
    """
    settings = json.loads(spec.provenance.settings_json or "{}")
    is_alike = spec.HasField("evaluation") and settings.get("max_evaluation_steps") == max_steps
    return spec.evaluation.random_mean if is_alike else None


def _random_mean(match: Match, champion: pb.PolicySpec, processes: int, progress: GameProgress) -> float:
    """Mean return of the random policy in such games: as the champion's record has it, else of games played for it.

    The candidate's record is not asked: a candidate would set its own margin.
    """
    recorded = recorded_random_mean(champion, match.max_steps)
    if recorded is not None:
        return recorded
    title = f"the {RANDOM} policy plays {match.random_games} of them, since the margin is a part of the lead over it"
    with progress.playing(title, match.random_games) as on_played:
        played = _or_refused(lambda: play_random(match, processes, on_played))
    _check_finite(f"the {RANDOM} policy", played, match.first_seed)
    return fmean(game.episode_return for game in played)


def _or_refused(play: Callable[[], Played]) -> Played:
    """Play; an environment that is at fault is a reason for PromotionRefused."""
    try:
        return play()
    except FaultyEnvironment as error:
        raise PromotionRefused(f"{error}; {ALL_THE_SAME}") from error


def _check_finite(name: str, played: Sequence[FinishedEpisode], first_seed: int) -> None:
    """Raise PromotionRefused where a return is no finite number: no figure can be made of it."""
    for index, game in enumerate(played):
        if not math.isfinite(game.episode_return):
            raise PromotionRefused(
                f"{name} returned {game.episode_return} on seed {first_seed + index}: expected finite returns; "
                f"mend the environment's rewards or the policy; {ALL_THE_SAME}"
            )
