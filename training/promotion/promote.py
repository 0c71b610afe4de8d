"""`promote`: make a version @champion if its games allow it."""

from dataclasses import replace

from polserve.protos.shared.names import CHAMPION
from polserve.protos.shared.version_names import VersionName
from polserve.training.environments.limits import LAST_SEED, MATCH_ENVS, MAX_EVALUATION_STEPS
from polserve.training.environments.makers import EnvMaker
from polserve.training.errors import (
    InvalidOption,
    PromotionRefused,
    RaceLost,
    require,
    require_given,
    require_kind,
    require_whole,
)
from polserve.training.evaluation.game_progress import GameProgress, shown
from polserve.training.machine.cores import cores
from polserve.training.promotion.candidacy import ALL_THE_SAME, PlaySettings, check_evaluated, gather_evidence
from polserve.training.promotion.decision import (
    MOST_GAMES,
    Candidacy,
    Criteria,
    Decision,
    DecisionKind,
    Rule,
    decide,
)
from polserve.training.promotion.past import PolicyPast, check_spaces
from polserve.training.promotion.record import correct_record, record_decision
from polserve.training.registry.aliases import AliasMove, ChampionAlias, mover
from polserve.training.registry.store import connect
from polserve.training.registry.versions import PolicyRegistry
from polserve.training.wording import is_command, naming_arguments

DEFAULTS = Criteria()


@naming_arguments()
def promote(  # noqa: PLR0913 - keywords of a function that notebooks call, as the command's options
    policy: str,
    *,
    rule: Rule | str = DEFAULTS.rule,
    margin: float | None = None,
    margin_return: float | None = None,
    episodes: int = DEFAULTS.episodes,
    max_steps: int = MAX_EVALUATION_STEPS,
    module: str = "",
    env: EnvMaker | None = None,
    seed: int | None = None,
    processes: int = 0,
    envs: int = MATCH_ENVS,
    force_reason: str = "",
    allow_space_change: bool = False,
    tracking_uri: str | None = None,
    progress: GameProgress | bool = True,
) -> Decision:
    """Make a version @champion if its games allow it: it and the champion play the same ones.

    Services follow the alias by themselves. Every decision is recorded as an MLflow run with all games, and on the
    version.

    Args:
        policy: POLICY for its newest version, POLICY/VERSION or POLICY@ALIAS.
        rule: what the games must show of the candidate: "better" or "not-worse".
        margin: what the candidate may lose, as a part of what the champion returns more than the random policy, 0 to
            1; None for the part that suits the task, which is 0.05 for most.
        margin_return: what the candidate may lose, in returns, in place of such a part.
        episodes: games of each, on as many seeds, 30 to 10,000.
        max_steps: steps after which a game is cut off.
        module: Python module that registers the environment, where Gymnasium does not know it.
        env: callable that makes the environment, such as its class, where neither Gymnasium nor a module knows it; the
            games are played in this process then.
        seed: seed of the first game; None for the one that follows from the two versions.
        processes: processes that play; 0 for one on each core, 1 for this one alone.
        envs: environments that each process plays in together at most; 1 where only one may exist at a time.
        force_reason: promote without playing, for this reason, which is kept; "" to play.
        allow_space_change: promote a version even though its observations or actions are not those of the version
            that services answer with, which refuse it unless they run with --allow-space-change.
        tracking_uri: the MLflow registry; None for that of MLFLOW_TRACKING_URI, or ./mlflow.db.
        progress: whether a bar is shown over the games and notes are printed; or what hears of both.

    Returns:
        The decision, by which the candidate is @champion now, or was before.

    Raises:
        PromotionRefused: the evidence does not allow it, or there can be none, or services would refuse the version;
            its `decision` says more.
        RaceLost: somebody else moved the alias first.
        RegistryError: the registry does not answer, lacks the version, or holds another than was registered.
        InvalidOption: an argument is out of range.
    """
    require_given(policy=policy, episodes=episodes, max_steps=max_steps, processes=processes, envs=envs)
    require_given(force_reason=force_reason)
    require_kind("text", str, policy=policy, module=module, force_reason=force_reason, tracking_uri=tracking_uri)
    require_whole(episodes=episodes, max_steps=max_steps, seed=seed, processes=processes, envs=envs)
    require(envs >= 1, "envs", "1 or more", envs)
    require_kind("a number", (int, float), margin=margin, margin_return=margin_return)
    criteria = Criteria(_rule(rule), margin, margin_return, episodes)
    settings = _settings(max_steps, module, seed, 1 if env else processes)
    settings = replace(settings, maker=env, is_apart=is_command(), envs=envs)
    told = shown(progress)
    registry = PolicyRegistry(connect(tracking_uri, is_created=False, on_wait=told.note))
    name = VersionName.parse(policy)
    is_named = bool(name.version or name.alias)
    candidate = registry.resolve(name) if is_named else registry.newest(name.policy)
    registry.sha256(name.policy, candidate)
    past = PolicyPast.read(registry, name.policy)
    candidacy = Candidacy(name.policy, candidate, past.champion, criteria)
    if candidacy.champion == candidacy.candidate:
        standing = "; but ".join([f"{candidacy.name} is @{CHAMPION} already", *past.refusals(candidate)])
        return Decision(candidacy, DecisionKind.STANDING, standing)
    if not allow_space_change:
        check_spaces(registry, past, candidate, lambda said: told.note(f"warning: {said}"))
    if force_reason:
        decision = Decision(candidacy, DecisionKind.FORCED, force_reason)
    elif candidacy.champion is None:
        check_evaluated(registry, candidacy)
        reason = "no games were played, since there was no champion"
        newest = "" if is_named else "; it was taken as the newest version"
        decision = Decision(candidacy, DecisionKind.PROMOTED, reason + newest)
    else:
        evidence = gather_evidence(registry, candidacy, settings, told)
        decision = Decision(candidacy, *decide(evidence.comparison, criteria.rule, evidence.loss_allowed), evidence)
    return _carry_out(registry, decision)


def _rule(rule: Rule | str) -> Rule:
    try:
        return Rule(rule)
    except ValueError as error:
        raise InvalidOption(f"rule: expected {' or '.join(Rule)}, got {rule!r}") from error


def _settings(max_steps: int, module: str, seed: int | None, processes: int) -> PlaySettings:
    require(max_steps >= 1, "max_steps", "1 or more", max_steps)
    require(processes >= 0, "processes", "0 or more", processes)
    require(seed is None or 0 <= seed <= LAST_SEED - MOST_GAMES, "seed", f"0 to {LAST_SEED - MOST_GAMES:,}", seed)
    return PlaySettings(processes or cores(), seed, max_steps, module)


def _carry_out(registry: PolicyRegistry, decision: Decision) -> Decision:
    """Record the decision, and move the alias if it is to move; raise where the candidate is not champion after.

    The run is there before the alias moves: no promotion without its evidence.
    """
    candidacy = decision.candidacy
    decision = record_decision(registry, decision)
    if decision.kind is not DecisionKind.REFUSED:
        move = AliasMove(candidacy.policy, candidacy.candidate, candidacy.champion, mover("polserve promote"))
        try:
            ChampionAlias(registry.client).move(move)
        except RaceLost as lost:
            lost.decision = decision = replace(decision, kind=DecisionKind.LOST, reason=str(lost))
            correct_record(registry, decision)
            _note(registry, decision)
            raise
    _note(registry, decision)
    if decision.kind is DecisionKind.REFUSED:
        raise _refusal(decision)
    return decision


def _note(registry: PolicyRegistry, decision: Decision) -> None:
    candidacy = decision.candidacy
    registry.note_decision(candidacy.policy, candidacy.candidate, decision.kind, decision.reason, decision.run_id)


def _refusal(decision: Decision) -> PromotionRefused:
    """Build the error that the candidate is refused; it says where the other rule would allow what this one did not."""
    candidacy, evidence, remedy = decision.candidacy, decision.evidence, ALL_THE_SAME
    if evidence is not None and candidacy.criteria.rule is Rule.BETTER:
        leniently, _ = decide(evidence.comparison, Rule.NOT_WORSE, evidence.loss_allowed)
        if leniently is DecisionKind.PROMOTED:
            remedy = f"--rule {Rule.NOT_WORSE} would allow it; {ALL_THE_SAME}"
    return PromotionRefused(
        f"{candidacy.name} is not promoted, @{CHAMPION} stays {candidacy.champion}: {decision.reason}; "
        f"every game is in MLflow run {decision.run_id}; {remedy}",
        decision,
    )
