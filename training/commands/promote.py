"""`polserve promote` and `polserve rollback`."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from protos.polserve.v1 import policy_pb2 as pb
    from training.registry.versions import PolicyRegistry


def promote(
    policy: Annotated[str, typer.Argument(help="POLICY for its newest version, POLICY/VERSION, or POLICY@ALIAS.")],
    *,
    force: Annotated[bool, typer.Option("--force", help="Promote whatever the evidence says.")] = False,
    reason: Annotated[str, typer.Option(help="Why, with --force; kept in the registry.")] = "",
) -> None:
    """Make a version @champion, if its evaluation does not show it to be worse; services follow by themselves."""
    from protos.names import CHAMPION
    from training.errors import PromotionRefused
    from training.promotion import Decision, decide
    from training.registry.store import connect
    from training.registry.versions import PolicyRegistry, VersionName

    if force and not reason:
        raise typer.BadParameter("--force needs a --reason")
    registry = PolicyRegistry(connect(is_created=False))
    name = VersionName.parse(policy)
    candidate = registry.resolve(name) if name.version or name.alias else registry.newest(name.policy)
    champion = registry.model(name.policy).aliases.get(CHAMPION)
    if str(champion) == candidate:
        print(f"{name.policy}/{candidate} is @{CHAMPION} already")
        return
    if force:
        decision = Decision(is_allowed=True, reason=f"forced: {reason}")
    elif champion is None:
        decision = Decision(is_allowed=True, reason="there was no champion")
    else:
        decision = decide(_spec(registry, name.policy, candidate), _spec(registry, name.policy, str(champion)))
    if not decision.is_allowed:
        raise PromotionRefused(
            f"{name.policy}/{candidate} is not promoted, @{CHAMPION} stays {champion}: {decision.reason}; "
            "with --force --reason it is promoted all the same"
        )
    registry.promote(name.policy, candidate, decision.reason)
    print(f"{name.policy}/{candidate} is @{CHAMPION} now: {decision.reason}")


def rollback(policy: Annotated[str, typer.Argument(help="Name of the policy.")]) -> None:
    """Make the version @champion that was champion before."""
    from protos.names import CHAMPION
    from training.registry.store import connect
    from training.registry.versions import PolicyRegistry

    before, after = PolicyRegistry(connect(is_created=False)).rollback(policy)
    print(f"{policy}/{after} is @{CHAMPION} again, in place of {before}")


def _spec(registry: "PolicyRegistry", policy: str, version: str) -> "pb.PolicySpec":
    """The spec inside a version's graph."""
    from protos.names import MODEL_FILE
    from training.export import OnnxPolicy

    with tempfile.TemporaryDirectory() as folder:
        return OnnxPolicy(registry.download(policy, version, Path(folder)) / MODEL_FILE).spec
