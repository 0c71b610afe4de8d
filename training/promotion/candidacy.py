"""A candidacy from end to end: two versions play, what they did is recorded, and the alias moves or does not."""

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.training.environments.inspection import check_fits
from polserve.training.environments.limits import MAX_EVALUATION_STEPS
from polserve.training.environments.making import from_message
from polserve.training.errors import (
    FaultyEnvironment,
    InvalidOption,
    PromotionRefused,
    RaceLost,
    UnknownEnvironment,
    UnsupportedEnvironment,
)
from polserve.training.evaluation.comparison import compare
from polserve.training.evaluation.episodes import cut_off
from polserve.training.learning.collector import FinishedEpisode
from polserve.training.promotion.evidence import Evidence, metrics, write_evidence
from polserve.training.promotion.match import Match, Player, first_seed, play_match
from polserve.training.promotion.rules import Criteria, Rule, decide
from polserve.training.registry.aliases import AliasMove, mover
from polserve.training.registry.decisions import Ballot, DecisionLog, Figures
from polserve.training.registry.versions import Outcome, PolicyRegistry, Verdict
from polserve.training.versions.onnx_policy import OnnxPolicy

ALL_THE_SAME = "with --force --reason it is promoted all the same"


@dataclass(frozen=True, slots=True)
class Terms:
    """How a candidate is examined."""

    criteria: Criteria
    module: str
    """That registers the environment; "" where Gymnasium knows it."""
    processes: int
    first_seed: int | None
    """None for the one that follows from the two versions."""
    max_steps: int = MAX_EVALUATION_STEPS
    """Steps after which a game is cut off."""


@dataclass(frozen=True, slots=True)
class Case:
    """A candidate, and what is known of it."""

    ballot: Ballot
    terms: Terms
    evidence: Evidence | None = None
    """None where nobody played."""


def examine(registry: PolicyRegistry, case: Case, console: Console) -> Case:
    """The case with what the candidate and the champion did in the same games; progress goes to `console`.

    Raises:
        PromotionRefused: the two cannot play the same games, or a game ended with no finite return.
        RegistryError: a version cannot be had, or is not what was registered.
    """
    ballot, terms = case.ballot, case.terms
    with tempfile.TemporaryDirectory() as folder:
        ours = _Contender.fetch(registry, ballot.policy, ballot.candidate, Path(folder))
        theirs = _Contender.fetch(registry, ballot.policy, str(ballot.champion), Path(folder))
        candidate = ours.player(terms.module, console.print)
        _check_comparable(ours, theirs)
        champion = theirs.player(terms.module)
        episodes = terms.criteria.episodes
        seed = first_seed(ours.sha256, theirs.sha256) if terms.first_seed is None else terms.first_seed
        title = f"{ours.name} and {theirs.name} play {episodes} games of {ours.spec.environment.id}"
        with _progress(console, title, episodes) as on_played:
            match = Match(candidate, champion, episodes, seed, terms.max_steps)
            try:
                games = play_match(match, terms.processes, on_played)
            except FaultyEnvironment as error:
                raise PromotionRefused(f"{error}; {ALL_THE_SAME}") from error
    for contender, played in zip((ours, theirs), games, strict=True):
        if part := cut_off(played, terms.max_steps, "--max-steps lets them go on"):
            console.print(f"warning: {contender.name}: {part}")
        _check_finite(contender.name, played, seed)
    returns = ([game.episode_return for game in games[0]], [game.episode_return for game in games[1]])
    evidence = Evidence(ours.name, theirs.name, ours.spec.environment.id, seed, *returns, compare(*returns))
    return replace(case, evidence=evidence)


def judge(case: Case) -> Verdict:
    """What the rule says of the evidence."""
    if case.evidence is None:
        raise ValueError("nobody played: examine the case first")
    decision = decide(case.evidence.comparison, case.terms.criteria)
    return Verdict(Outcome.PROMOTED if decision.is_allowed else Outcome.REFUSED, decision.reason)


def hint(case: Case) -> str:
    """That the other rule would allow what this one refused, where it would."""
    if case.terms.criteria.rule is not Rule.BETTER:
        return ""
    lenient = replace(case.terms, criteria=replace(case.terms.criteria, rule=Rule.NOT_WORSE))
    is_allowed = judge(replace(case, terms=lenient)).outcome is Outcome.PROMOTED
    return f"--rule {Rule.NOT_WORSE} would allow it; " if is_allowed else ""


def conclude(registry: PolicyRegistry, log: DecisionLog, case: Case, verdict: Verdict) -> Verdict:
    """The verdict is carried out, and recorded as an MLflow run and on the version; returns what came of it.

    The run is there before the alias moves: no promotion without its evidence.
    """
    ballot = case.ballot
    with tempfile.TemporaryDirectory() as folder:
        if case.evidence is not None:
            write_evidence(Path(folder), case.evidence)
        figures = metrics(case.evidence.comparison) if case.evidence else {}
        run_id = log.write(ballot, verdict, Figures(_params(case), figures, Path(folder)))
    if verdict.outcome is not Outcome.REFUSED:
        try:
            registry.move(AliasMove(ballot.policy, ballot.candidate, ballot.champion, mover("polserve promote")))
        except RaceLost as lost:
            verdict = Verdict(Outcome.LOST, str(lost))
            log.correct(run_id, verdict)
    concluded = replace(verdict, run_id=run_id)
    registry.note(ballot.policy, ballot.candidate, concluded)
    return concluded


def _params(case: Case) -> dict[str, object]:
    """What the decision depended on; nothing where nobody played."""
    if case.evidence is None:
        return {}
    games = {"first_seed": case.evidence.first_seed, "environment": case.evidence.environment}
    return {**asdict(case.terms.criteria), "max_steps": case.terms.max_steps, **games}


@dataclass(frozen=True, slots=True)
class _Contender:
    """A version as downloaded."""

    name: str
    graph: Path
    sha256: str
    spec: pb.PolicySpec

    @classmethod
    def fetch(cls, registry: PolicyRegistry, policy: str, version: str, folder: Path) -> "_Contender":
        """The version's graph, which is the one that was registered."""
        graph, sha256 = registry.graph(policy, version, folder / version)
        return cls(f"{policy}/{version}", graph, sha256, OnnxPolicy(graph).spec)

    def player(self, module: str, on_caution: Callable[[str], None] = lambda _: None) -> Player:
        """The version as it plays in its own environment; `on_caution` hears what returns in that do not mean."""
        if not self.spec.environment.id:
            raise PromotionRefused(f"{self.name} names no environment that it could play in; {ALL_THE_SAME}")
        environment = from_message(self.spec, module)
        try:
            cautions = check_fits(environment, self.spec)
        except (UnknownEnvironment, UnsupportedEnvironment, FaultyEnvironment, InvalidOption) as error:
            raise PromotionRefused(f"{self.name} cannot play: {error}; {ALL_THE_SAME}") from error
        for caution in cautions:
            on_caution(f"note: {caution}")
        return Player(self.graph, environment)


def _check_comparable(ours: _Contender, theirs: _Contender) -> None:
    """Raise PromotionRefused where the two were not trained for the same environment."""
    mine, other = (f"{each.spec.environment.id} {each.spec.environment.kwargs_json}" for each in (ours, theirs))
    if mine != other:
        raise PromotionRefused(
            f"the returns of {ours.name} in {mine} and of {theirs.name} in {other} cannot be compared; {ALL_THE_SAME}"
        )


def _check_finite(name: str, played: Sequence[FinishedEpisode], first_seed: int) -> None:
    """Raise PromotionRefused where a return is no finite number: no figure can be made of it."""
    for index, game in enumerate(played):
        if not math.isfinite(game.episode_return):
            raise PromotionRefused(
                f"{name} returned {game.episode_return} on seed {first_seed + index}: expected finite returns; "
                f"mend the environment's rewards or the policy; {ALL_THE_SAME}"
            )


@contextmanager
def _progress(console: Console, title: str, episodes: int) -> Iterator[Callable[[int], None]]:
    """A line, and on a terminal a bar over the games."""
    console.print(f"{title}, on the same seeds")
    parts = (BarColumn(), MofNCompleteColumn(), TextColumn("pairs of games"))
    with Progress(
        *parts, TimeElapsedColumn(), TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(title, total=episodes)
        yield lambda played: bar.advance(task, played)
