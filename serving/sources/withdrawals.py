"""Versions that were withdrawn for what they did: they answer no more until their alias moves, not after a restart."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from polserve.protos.shared.alias_history import parse_history
from polserve.protos.shared.names import CHAMPION, SHA256_TAG
from polserve.protos.shared.promotions import ROLLOUT_TAG, WITHDRAWN_TAG
from polserve.serving.sources.withdrawal_records import WithdrawalRecords
from polserve.serving.versions import ByAlias, DesiredVersions, VersionRef

if TYPE_CHECKING:  # what was live before is known before mlflow is imported, which takes seconds
    from polserve.serving.sources.registry import Model

SEEN = "seen by"
"""How the record of a move begins that a service found, which may be younger than the move."""


class Withdrawals:
    """What a registry and the records here say of withdrawn versions when a follower first looks at their policies.

    A version that an alias names later is one that the alias was moved to, and is tried again.
    """

    def __init__(self, service: str, records: WithdrawalRecords) -> None:
        """Read what is withdrawn from the tags of `service`, and from the records of what it could not tag."""
        self._records = records
        self._rollout_tag, self._withdrawn_tag = ROLLOUT_TAG + service, WITHDRAWN_TAG + service
        self._reasons: dict[tuple[str, str, int], str] = {}
        """Why versions are withdrawn, by policy, version, and when the policy's model was made."""
        self._known: set[tuple[str, int]] = set()
        """Policies that were looked at, and when their models were made."""
        self.bad: set[tuple[str, str]] = set()
        """Policies and versions that were withdrawn since this follower started."""

    def read(self, model: "Model", version: str, tags: Mapping[str, str]) -> None:
        """Look at the tags of a version that an alias names."""
        if (model.name, model.created) in self._known:
            return
        text = tags.get(self._withdrawn_tag, "")
        if text and text == tags.get(self._rollout_tag):
            _, _, rest = text.partition(" ")
            moment, _, reason = rest.partition(" ")
            if not _was_promoted_since(model, version, moment):
                self._reasons[model.name, version, model.created] = f"since {moment}, {reason}"
        record = self._records.find(model.name, version, tags.get(SHA256_TAG, ""))
        if record is not None and _was_promoted_since(model, version, record.at):
            self._records.drop(model.name, version)
        elif record is not None:
            self._reasons[model.name, version, model.created] = record.text

    def note_look(self, model: "Model", named: Collection[str]) -> None:
        """Note that the tags of all versions that a policy's aliases name were read."""
        self._known.add((model.name, model.created))
        self._reasons = {
            (policy, version, created): reason
            for (policy, version, created), reason in self._reasons.items()
            if policy != model.name or (version in named and created == model.created)
        }

    def mark(self, model: "Model", ref: VersionRef) -> VersionRef:
        """Return the reference of a model's version, with the reason where it is withdrawn."""
        reason = self._reasons.get((model.name, ref.version, model.created), "")
        return replace(ref, withdrawn=reason) if reason else ref

    def without(self, good: DesiredVersions) -> dict[str, Mapping[str, VersionRef]]:
        """Return what was good without what is withdrawn."""
        bad = self.bad | {(policy, version) for policy, version, _ in self._reasons}
        kept = _kept(good, bad)
        return {policy: refs for policy, refs in kept.items() if refs}


def _kept(good: DesiredVersions, bad: Collection[tuple[str, str]]) -> ByAlias[VersionRef]:
    return {
        policy: {alias: ref for alias, ref in refs.items() if (ref.policy, ref.version) not in bad}
        for policy, refs in good.items()
    }


def _was_promoted_since(model: "Model", version: str, moment: str) -> bool:
    """Whether @champion was moved to a version after a moment, by the record of those who moved it."""
    moves = [move for move in parse_history(model.history) if not move.by.startswith(SEEN)]
    return model.aliases.get(CHAMPION) == version and any(
        move.version == version and move.at > moment for move in moves
    )
