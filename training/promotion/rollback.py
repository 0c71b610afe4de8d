"""`rollback`: make the version @champion again that was champion before."""

from polserve.protos.shared.names import CHAMPION
from polserve.training.errors import PromotionRefused, RegistryError, require_given, require_kind
from polserve.training.evaluation.game_progress import SILENT
from polserve.training.promotion.past import PolicyPast, check_spaces
from polserve.training.registry.aliases import AliasMove, ChampionAlias, mover
from polserve.training.registry.store import connect
from polserve.training.registry.versions import PolicyRegistry
from polserve.training.wording import naming_arguments


@naming_arguments()
def rollback(
    policy: str,
    *,
    to: str = "",
    allow_refused: bool = False,
    allow_space_change: bool = False,
    tracking_uri: str | None = None,
) -> AliasMove:
    """Make the version @champion again that was champion before, or an earlier one that is named.

    Services follow the alias by themselves. Called again, it goes back one champion more. Versions that services
    refused or withdrew, and that none answers with, are passed over, since moving the alias to one changes no answer.

    Args:
        policy: name of the policy.
        to: an earlier champion, by its number; "" for the one before.
        allow_refused: go back to a version even though services refused or withdrew it.
        allow_space_change: go back to a version even though its observations or actions are not those of the version
            that services answer with.
        tracking_uri: the MLflow registry; None for that of MLFLOW_TRACKING_URI, or ./mlflow.db.

    Returns:
        The move: `version` is champion now, in place of `replaces`; `notes` say what was passed over, and which
            services refuse it.

    Raises:
        RegistryError: the registry does not answer, or no earlier champion, or not the one named, is on record.
        PromotionRefused: services would not answer with the version.
        RaceLost: somebody else moved the alias in between.
    """
    require_given(policy=policy, to=to)
    require_kind("text", str, policy=policy, to=to, tracking_uri=tracking_uri)
    registry = PolicyRegistry(connect(tracking_uri, is_created=False, on_wait=SILENT.note))
    past, notes = PolicyPast.read(registry, policy), list[str]()
    target = _named(past, to, allow_refused=allow_refused) if to else _before(past, notes, allow_refused=allow_refused)
    notes += [f"{policy}/{target}: {refusal}" for refusal in past.refusals(target)]
    if not allow_space_change:
        check_spaces(registry, past, target, notes.append)
    move = AliasMove(policy, target, past.champion, mover("polserve rollback"), is_rollback=True, notes=tuple(notes))
    ChampionAlias(registry.client).move(move)
    return move


def _named(past: PolicyPast, wanted: str, *, allow_refused: bool) -> str:
    """Return the version that is named, which was champion at any time."""
    if wanted not in past.former_champions:
        when = f"was not champion before {past.champion}" if past.champion else "was never champion"
        raise _missing(past, f"version {wanted} {when}", past.former_champions)
    if past.is_refused(wanted) and not allow_refused:
        raise PromotionRefused(
            f"services would not answer with {past.policy}/{wanted}: {'; '.join(past.refusals(wanted))}; "
            f"with --allow-refused it becomes @{CHAMPION} all the same"
        )
    return wanted


def _before(past: PolicyPast, notes: list[str], *, allow_refused: bool) -> str:
    """Return the latest champion before that services answer with; add to `notes` which are passed over, and why."""
    if past.champion is None:
        raise _without_champion(past)
    for version in past.earlier:
        if allow_refused or not past.is_refused(version):
            return version
        notes.append(f"{past.policy}/{version} is passed over: {'; '.join(past.refusals(version))}")
    if notes:
        raise PromotionRefused(
            f"{past.policy}: services answer with no champion before {past.champion}: {'; '.join(notes)}; with "
            "--allow-refused the one before becomes champion all the same; or promote the one you want: "
            f"polserve promote {past.policy}/VERSION --force --reason ..."
        )
    raise _missing(past, f"no champion before {past.champion}", past.earlier)


def _missing(past: PolicyPast, missing: str, known: list[str]) -> RegistryError:
    others = f"on record are {', '.join(known)}" if known else "none is on record"
    return RegistryError(
        f"{past.policy}: {missing}; {others}; "
        f"promote the one you want: polserve promote {past.policy}/VERSION --force --reason ..."
    )


def _without_champion(past: PolicyPast) -> RegistryError:
    """Build the error that there is nothing to go back from, which names the last champion."""
    last = past.answering or next(iter(past.earlier), None)
    again = f"its last champion was {last}: `polserve rollback {past.policy} --to {last}` makes it @{CHAMPION} again"
    return RegistryError(
        f"{past.policy} has no alias @{CHAMPION} to roll back from; {again if last else 'no champion is on record'}; "
        f"`polserve promote {past.policy}/VERSION` makes any version @{CHAMPION}"
    )
