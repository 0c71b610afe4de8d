"""`rollback`: make the version @champion again that was champion before."""

from polserve.protos.shared.alias_history import HISTORY_TAG, earlier, parse_history
from polserve.protos.shared.version_names import VersionName
from polserve.training.errors import RegistryError
from polserve.training.evaluation.game_progress import SILENT
from polserve.training.registry.aliases import AliasMove, ChampionAlias, mover
from polserve.training.registry.store import connect
from polserve.training.registry.versions import PolicyRegistry


def rollback(policy: str, *, to: str = "", tracking_uri: str | None = None) -> AliasMove:
    """Make the version @champion again that was champion before, or an earlier one that is named.

    Services follow the alias by themselves. Called again, it goes back one champion more.

    Args:
        policy: name of the policy.
        to: an earlier champion, by its number; "" for the one before.
        tracking_uri: the MLflow registry; None for that of MLFLOW_TRACKING_URI, or ./mlflow.db.

    Returns:
        The move: `version` is champion now, in place of `replaces`.

    Raises:
        RegistryError: the registry does not answer, or no earlier champion, or not the one named, is on record.
        RaceLost: somebody else moved the alias in between.
    """
    registry = PolicyRegistry(connect(tracking_uri, is_created=False, on_wait=SILENT.note))
    current = registry.resolve(VersionName(policy))
    target = _earlier_champion(registry, policy, current, to)
    move = AliasMove(policy, target, current, mover("polserve rollback"), is_rollback=True)
    ChampionAlias(registry.client).move(move)
    return move


def _earlier_champion(registry: PolicyRegistry, policy: str, current: str, wanted: str) -> str:
    """Return the version to go back to; `wanted` is one that was champion at any time, "" the one before."""
    moves = parse_history(registry.model(policy).tags.get(HISTORY_TAG, ""))
    existing = registry.numbers(policy)
    once = dict.fromkeys(move.version for move in reversed(moves) if move.version != current)
    known = [version for version in (once if wanted else earlier(moves, current)) if version in existing]
    if wanted in known or (known and not wanted):
        return wanted or known[0]
    missing = f"version {wanted} was not champion before {current}" if wanted else f"no champion before {current}"
    others = f"on record are {', '.join(known)}" if known else "none is on record"
    raise RegistryError(
        f"{policy}: {missing}; {others}; "
        f"promote the one you want: polserve promote {policy}/VERSION --force --reason ..."
    )
