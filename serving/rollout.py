"""From what should be live to what is: every version proves itself, then all switch at once, or it is refused."""

from collections.abc import Mapping
from typing import Protocol

import structlog

from serving.sources.source import Desired, Trial, Verdict, VersionRef

log = structlog.get_logger()


class Crew(Protocol):
    """Those who answer calls, as the rollout needs them."""

    def prepare(self, ref: VersionRef) -> Trial:
        """Every one of them holds the version, ready to answer; or why not."""

    def switch(self, live: Desired) -> None:
        """From now on every call is answered by `live`, all of which was prepared."""


class Rollout:
    """Makes a crew follow what a source desires; a bad version never replaces a good one."""

    def __init__(self, crew: Crew, *, is_list_fixed: bool) -> None:
        """Without a fixed list of policies, one that is no longer desired is taken out of service."""
        self._crew = crew
        self._is_list_fixed = is_list_fixed
        self._live: Desired | None = None
        self._runs: dict[VersionRef, str] = {}
        """Of the versions that are live, the runs that made them."""
        self._refused: set[VersionRef] = set()

    @property
    def aliases(self) -> Mapping[str, Mapping[str, str]]:
        """What is live: by policy and alias, the version."""
        live = self._live or {}
        return {name: {alias: ref.version for alias, ref in refs.items()} for name, refs in live.items()}

    @property
    def runs(self) -> Mapping[tuple[str, str], str]:
        """By policy and version, the run that made it."""
        return {(ref.policy, ref.version): run_id for ref, run_id in self._runs.items()}

    def apply(self, desired: Desired) -> list[Verdict]:
        """Everything desired that proves good is live; what is refused leaves things as they were.

        A refused version is tried again only after its reference changed, or was not desired for a while.

        Returns:
            How the versions fared that were tried.
        """
        self._refused &= {ref for refs in desired.values() for ref in refs.values()}
        before = self._live or {}
        verdicts: list[Verdict] = []
        after = {name: self._roll(refs, before.get(name, {}), verdicts) for name, refs in desired.items()}
        if self._is_list_fixed:
            after = {**before, **after}
        after = {name: refs for name, refs in after.items() if refs}
        if after != self._live:
            self._crew.switch(after)
            self._live = after
            kept = {ref for refs in after.values() for ref in refs.values()}
            self._runs = {ref: run_id for ref, run_id in self._runs.items() if ref in kept}
            _log_changes(before, after)
        return verdicts

    def _roll(
        self, refs: Mapping[str, VersionRef], before: Mapping[str, VersionRef], verdicts: list[Verdict]
    ) -> Mapping[str, VersionRef]:
        """What is to be live of one policy, by alias; an alias that names a bad version keeps the one before."""
        untried = [ref for ref in dict.fromkeys(refs.values()) if ref not in self._runs and ref not in self._refused]
        verdicts += [self._try(ref) for ref in untried]
        chosen = {alias: ref if ref in self._runs else before.get(alias) for alias, ref in refs.items()}
        return {alias: ref for alias, ref in chosen.items() if ref is not None}

    def _try(self, ref: VersionRef) -> Verdict:
        """Remember the version as good, or as refused."""
        trial = self._crew.prepare(ref)
        if trial.reason:
            self._refused.add(ref)
            log.warning("rollout_refused", policy=ref.policy, version=ref.version, reason=trial.reason)
        else:
            self._runs[ref] = trial.run_id
            log.info("rollout_prepared", policy=ref.policy, version=ref.version, sha256=ref.sha256)
        return Verdict(ref.policy, ref.version, trial.reason)


def _log_changes(before: Desired, after: Desired) -> None:
    for name in before.keys() - after.keys():
        log.info("policy_removed", policy=name)
    for name, refs in after.items():
        if refs != before.get(name):
            log.info("aliases_switched", policy=name, **{alias: ref.version for alias, ref in refs.items()})
