"""The way of a version onto the service: validated, loaded by every worker, and switched to; or refused."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from polserve.protos.shared.names import CHAMPION, MODEL_FILE
from polserve.serving.audit import Audit, no_audit
from polserve.serving.errors import RolloutRefused
from polserve.serving.logs import Log
from polserve.serving.versions import (
    AcceptedVersion,
    ByAlias,
    DesiredVersions,
    LiveVersions,
    RolloutResult,
    VersionRef,
    every,
)

Validate: TypeAlias = Callable[[VersionRef, VersionRef | None], AcceptedVersion]
"""Checks a version beside the live one, if there is one; raises RolloutRefused."""

log = Log()


class Workers(Protocol):
    """The workers as the rollout needs them."""

    def prepare(self, version: AcceptedVersion) -> None:
        """Load the version, in every one of them; raises RolloutRefused where one cannot."""

    def switch(self, live: LiveVersions) -> None:
        """Answer every call that comes from now on by `live`, all of which was prepared."""


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Why a version was taken out of service."""

    reason: str
    is_final: bool
    """Whether it stays so while nothing changes of the version itself."""


class Rollout:
    """Makes the workers follow what a source desires; a bad version never replaces a good one."""

    def __init__(self, validate: Validate, workers: Workers, *, is_list_fixed: bool, audit: Audit = no_audit) -> None:
        """Start with nothing live.

        With a fixed list of policies, the last version of one goes on though nothing names it any more. `audit` takes
        note of what came, went or was refused.
        """
        self._validate = validate
        self._workers = workers
        self._is_list_fixed = is_list_fixed
        self._audit = audit
        self._live: LiveVersions | None = None
        self._accepted: dict[VersionRef, AcceptedVersion] = {}
        self._refused: dict[VersionRef, str] = {}
        """Versions that are not tried again, and why; those that were withdrawn, too."""
        self._desired: DesiredVersions = {}
        self._withdrawn: dict[VersionRef, Withdrawal] = {}
        self._before: dict[tuple[str, str], AcceptedVersion] = {}
        """What an alias of a policy named before what it names now."""
        self._lock = threading.Lock()
        """Held while what is live may change."""
        self._early: dict[VersionRef, Future[AcceptedVersion]] = {}
        """Validations that were begun before their turn."""

    @property
    def live(self) -> LiveVersions:
        """Which version answers."""
        return self._live or {}

    @property
    def aliases(self) -> ByAlias[str]:
        """The number of the version that answers."""
        return {name: {alias: one.ref.version for alias, one in named.items()} for name, named in self.live.items()}

    def apply(self, desired: DesiredVersions) -> list[RolloutResult]:
        """Bring live what is desired and accepted; what is refused leaves things as they were.

        A refused version is tried again only after its reference changed, or was not desired for a while.

        Returns:
            How the versions fared that were tried.
        """
        with self._lock:
            return self._apply(desired)

    def apply_again(self) -> list[RolloutResult]:
        """Try again what is desired and was refused, or withdrawn for a time."""
        with self._lock:
            self._withdrawn = {ref: one for ref, one in self._withdrawn.items() if one.is_final}
            self._refused = {ref: one.reason for ref, one in self._withdrawn.items()}
            return [] if self._live is None else self._apply(self._desired)

    def withdraw(
        self, policy: str, version: str, sha256: str, reason: str, *, is_final: bool = True
    ) -> RolloutResult | None:
        """Take a live version out of service: the last good one answers again, where there is one.

        It is tried again only after its reference changed, or was not desired for a while; where it is not `is_final`,
        by `apply_again`, too.

        Returns:
            That it was withdrawn; None where it was not live any more.
        """
        with self._lock:
            named = self.live.get(policy, {})
            bad = {one.ref for one in named.values() if (one.ref.version, one.ref.sha256) == (version, sha256)}
            if not bad:
                return None
            # NOTE: new ones, since other threads may be looking through those.
            self._refused = self._refused | dict.fromkeys(bad, reason)
            self._withdrawn = self._withdrawn | dict.fromkeys(bad, Withdrawal(reason, is_final))
            back = {alias: self._last_good(policy, alias) if one.ref in bad else one for alias, one in named.items()}
            self._switch({**self.live, policy: {alias: one for alias, one in back.items() if one is not None}})
            log.error("version_withdrawn", policy=policy, version=version, reason=reason)
            self._audit("version_withdrawn", policy=policy, version=version, reason=reason)
            return RolloutResult(policy, version, reason, is_withdrawn=True, is_final=is_final, sha256=sha256)

    def withdrawn(self) -> list[dict[str, str]]:
        """Return the versions that were taken out of service and are still desired, with the reasons, for /readyz."""
        return [
            {"policy": ref.policy, "version": ref.version, "reason": one.reason} for ref, one in self._withdrawn.items()
        ]

    def refused(self) -> list[dict[str, str | None]]:
        """Return the versions that aliases name and that were refused, and what is live instead, for /readyz."""
        refused, live = self._refused, self.aliases
        return [
            {
                "policy": policy,
                "alias": alias,
                "version": ref.version,
                "reason": refused[ref],
                "live": live.get(policy, {}).get(alias),
            }
            for policy, refs in self._desired.items()
            for alias, ref in refs.items()
            if ref in refused and not self._is_withdrawn(ref)
        ]

    def _last_good(self, policy: str, alias: str) -> AcceptedVersion | None:
        """Return what an alias named before, loaded; None where there is nothing that may answer."""
        before = self._before.get((policy, alias))
        if before is None or before.ref in self._refused or self._is_withdrawn(before.ref):
            return None
        try:
            self._workers.prepare(before)
        except RolloutRefused as refusal:
            log.warning("last_good_not_loaded", policy=policy, version=before.ref.version, reason=str(refusal))
            return None
        return before

    def _apply(self, desired: DesiredVersions) -> list[RolloutResult]:
        self._desired = desired
        wanted = set(every(desired))
        self._refused = {ref: reason for ref, reason in self._refused.items() if ref in wanted}
        known = {_identity(ref): one for ref, one in self._withdrawn.items() if one.is_final}
        self._withdrawn = {ref: one for ref, one in self._withdrawn.items() if ref in self._refused}
        for ref in wanted - self._refused.keys():
            if ref.withdrawn:
                self._keep_withdrawn(ref, known.get(_identity(ref)))
        is_first = self._live is None
        if is_first:
            desired = _largest_first(desired)
            self._begin_early(first_of(desired))
        results: list[RolloutResult] = []
        live = dict(self.live)
        for name, refs in desired.items():
            before = {alias: one for alias, one in live.get(name, {}).items() if not self._is_withdrawn(one.ref)}
            chosen = self._roll_out(refs, before, results)
            live[name] = chosen or (before if self._is_list_fixed else {})
            if not is_first:  # no policy waits for another; at the start none answers before all can
                self._switch(live)
        if not self._is_list_fixed:
            live = {name: named for name, named in live.items() if name in desired}
        self._early = {}  # all of them were waited for, but where an earlier try was cut short
        self._switch(live)
        return results

    def _keep_withdrawn(self, ref: VersionRef, known: Withdrawal | None) -> None:
        """Leave out of service what was withdrawn before this service started, or is `known` to be."""
        self._refused = {**self._refused, ref: ref.withdrawn}
        if known is not None:
            self._withdrawn = {**self._withdrawn, ref: known}
            return
        self._withdrawn = {**self._withdrawn, ref: Withdrawal(ref.withdrawn, is_final=True)}
        log.error("version_still_withdrawn", policy=ref.policy, version=ref.version, reason=ref.withdrawn)
        self._audit("version_still_withdrawn", policy=ref.policy, version=ref.version, reason=ref.withdrawn)

    def _is_withdrawn(self, ref: VersionRef) -> bool:
        """Whether the same version is withdrawn, whatever its source says of its files."""
        return _identity(ref) in map(_identity, self._withdrawn)

    def _begin_early(self, first: Sequence[VersionRef]) -> None:
        """Have versions validated one after another, each while the workers load the one before.

        Nothing is live yet that they would be compared with.
        """
        pool = ThreadPoolExecutor(1, "validation")
        wanted = [ref for ref in first if ref not in self._refused]
        self._early = {ref: pool.submit(self._validate, ref, None) for ref in wanted}
        pool.shutdown(wait=False)

    def _switch(self, live: LiveVersions) -> None:
        """Answer by `live` from now on, but for the policies of which it has no version."""
        after = {name: named for name, named in live.items() if named}
        if after == self._live:
            return
        self._workers.switch(after)
        before, self._live = self.live, after
        for name, named in before.items():
            for alias, one in named.items():
                if after.get(name, {}).get(alias) != one:
                    self._before[name, alias] = one
        self._accepted = {version.ref: version for version in every(after)}
        self._note_changes(before, after)

    def _roll_out(
        self,
        refs: Mapping[str, VersionRef],
        before: Mapping[str, AcceptedVersion],
        results: list[RolloutResult],
    ) -> Mapping[str, AcceptedVersion]:
        """Choose what is to be live of one policy, by alias: one that names a refused version keeps the one before."""
        live = before.get(CHAMPION) or next(iter(before.values()), None)
        for ref in _champion_first(refs):
            if ref not in self._accepted and ref not in self._refused:
                results.append(self._try(ref, live.ref if live else None))
            live = live or self._accepted.get(ref)
        chosen = {alias: self._accepted.get(ref, before.get(alias)) for alias, ref in refs.items()}
        return {alias: version for alias, version in chosen.items() if version is not None}

    def _try(self, ref: VersionRef, live: VersionRef | None) -> RolloutResult:
        """Validate and load a version, and remember it as accepted or as refused."""
        try:
            accepted = self._accept(ref, live)
        except RolloutRefused as refusal:
            self._refused = {**self._refused, ref: str(refusal)}
            log.warning("rollout_refused", policy=ref.policy, version=ref.version, reason=str(refusal))
            self._audit("rollout_refused", policy=ref.policy, version=ref.version, reason=str(refusal))
            return RolloutResult(ref.policy, ref.version, str(refusal))
        self._accepted[ref] = accepted
        log.info("rollout_prepared", policy=ref.policy, version=ref.version, sha256=ref.sha256)
        self._audit("rollout_prepared", policy=ref.policy, version=ref.version, sha256=ref.sha256)
        return RolloutResult(ref.policy, ref.version)

    def _accept(self, ref: VersionRef, live: VersionRef | None) -> AcceptedVersion:
        """Validate a version, and have the workers load it; raises RolloutRefused."""
        if ref.problem is not None:
            raise RolloutRefused(ref.problem)
        early = self._early.pop(ref, None)
        accepted = self._validate(ref, live) if early is None else early.result()
        self._workers.prepare(accepted)
        return accepted

    def _note_changes(self, before: LiveVersions, after: LiveVersions) -> None:
        """Log the policies whose aliases name other versions than before."""
        for name in before.keys() - after.keys():
            log.info("policy_removed", policy=name)
            self._audit("policy_removed", policy=name)
        for name, named in after.items():
            if named != before.get(name):
                aliases = {alias: one.ref.version for alias, one in named.items()}
                log.info("aliases_switched", policy=name, **aliases)
                self._audit("aliases_switched", policy=name, aliases=aliases)


def _identity(ref: VersionRef) -> tuple[str, str, str]:
    """Return what makes two references name the same version, whatever else their source says."""
    return ref.policy, ref.version, ref.sha256


def first_of(desired: DesiredVersions) -> list[VersionRef]:
    """Return the versions that are validated at a start beside no live one, the champion of each policy, in order."""
    first = dict.fromkeys(ref for refs in _largest_first(desired).values() for ref in _champion_first(refs)[:1])
    return [ref for ref in first if ref.problem is None and not ref.withdrawn]


def _largest_first(desired: DesiredVersions) -> DesiredVersions:
    """Return what is desired, the policies with the largest graphs first.

    While a version is loaded the next one is validated, and nothing beside the last: so that one had better be small.
    """
    return dict(sorted(desired.items(), key=lambda one: -max(map(_graph_bytes, one[1].values()), default=0)))


def _graph_bytes(ref: VersionRef) -> int:
    """Size of a version's graph; 0 for one whose files are not there, which its validation will tell."""
    try:
        return (ref.folder / MODEL_FILE).stat().st_size
    except OSError:
        return 0


def _champion_first(refs: Mapping[str, VersionRef]) -> list[VersionRef]:
    """Return the versions that aliases name, each once, the champion first: the others are compared with it."""
    return list(dict.fromkeys(refs[alias] for alias in sorted(refs, key=lambda alias: alias != CHAMPION)))
