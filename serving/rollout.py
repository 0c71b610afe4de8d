"""From what should be live to what is: every version proves itself, then all switch at once, or it is refused."""

from collections.abc import Mapping
from typing import Protocol

import structlog

from polserve.protos.shared.names import CHAMPION
from polserve.serving.sources.source import Desired, Trial, Verdict, VersionRef

log = structlog.get_logger()


class Prover(Protocol):
    """Who tries versions."""

    def prove(self, ref: VersionRef, live: VersionRef | None) -> Trial:
        """Whether the version is the policy that was trained and may take the place of `live`; or why not."""


class Crew(Protocol):
    """Those who answer calls, as the rollout needs them."""

    def prepare(self, ref: VersionRef) -> str:
        """Every one of them holds the version, ready to answer; or why not."""

    def switch(self, live: Desired) -> None:
        """From now on every call is answered by `live`, all of which was prepared."""


class Rollout:
    """Makes a crew follow what a source desires; a bad version never replaces a good one."""

    def __init__(self, prover: Prover, crew: Crew, *, is_list_fixed: bool) -> None:
        """With a fixed list of policies, the last version of one goes on though nothing names it any more."""
        self._prover = prover
        self._crew = crew
        self._is_list_fixed = is_list_fixed
        self._live: Desired | None = None
        self._proven: dict[VersionRef, str] = {}
        """Versions that proved good, and the runs that made them."""
        self._refused: set[VersionRef] = set()

    @property
    def aliases(self) -> Mapping[str, Mapping[str, str]]:
        """What is live: by policy and alias, the version."""
        live = self._live or {}
        return {name: {alias: ref.version for alias, ref in refs.items()} for name, refs in live.items()}

    @property
    def runs(self) -> Mapping[tuple[str, str], str]:
        """By policy and version, the run that made it."""
        return {(ref.policy, ref.version): run_id for ref, run_id in self._proven.items()}

    def apply(self, desired: Desired) -> list[Verdict]:
        """Everything desired that proves good is live; what is refused leaves things as they were.

        A refused version is tried again only after its reference changed, or was not desired for a while.

        Returns:
            How the versions fared that were tried.
        """
        self._refused &= {ref for refs in desired.values() for ref in refs.values()}
        is_first = self._live is None
        verdicts: list[Verdict] = []
        live = dict(self._live or {})
        for name, refs in desired.items():
            chosen = self._roll(refs, live.get(name, {}), verdicts)
            if chosen or not self._is_list_fixed:
                live[name] = chosen
            if not is_first:  # no policy waits for another; at the start none answers before all can
                self._switch(live)
        if not self._is_list_fixed:
            live = {name: refs for name, refs in live.items() if name in desired}
        self._switch(live)
        return verdicts

    def _switch(self, live: Desired) -> None:
        """`live` answers from now on, the policies of which it has a version."""
        after = {name: refs for name, refs in live.items() if refs}
        if after == self._live:
            return
        self._crew.switch(after)
        before, self._live = self._live or {}, after
        kept = {ref for refs in after.values() for ref in refs.values()}
        self._proven = {ref: run_id for ref, run_id in self._proven.items() if ref in kept}
        _log_changes(before, after)

    def _roll(
        self, refs: Mapping[str, VersionRef], before: Mapping[str, VersionRef], verdicts: list[Verdict]
    ) -> Mapping[str, VersionRef]:
        """What is to be live of one policy, by alias; an alias that names a bad version keeps the one before."""
        live = before.get(CHAMPION) or next(iter(before.values()), None)
        for ref in _champion_first(refs):
            if ref not in self._proven and ref not in self._refused:
                verdicts.append(self._try(ref, live))
            if live is None and ref in self._proven:
                live = ref
        chosen = {alias: ref if ref in self._proven else before.get(alias) for alias, ref in refs.items()}
        return {alias: ref for alias, ref in chosen.items() if ref is not None}

    def _try(self, ref: VersionRef, live: VersionRef | None) -> Verdict:
        """Remember the version as good, or as refused."""
        trial = Trial(ref.problem) if ref.problem else self._prover.prove(ref, live)
        reason = trial.reason or self._crew.prepare(ref)
        if reason:
            self._refused.add(ref)
            log.warning("rollout_refused", policy=ref.policy, version=ref.version, reason=reason)
        else:
            self._proven[ref] = trial.run_id
            log.info("rollout_prepared", policy=ref.policy, version=ref.version, sha256=ref.sha256)
        return Verdict(ref.policy, ref.version, reason)


def _champion_first(refs: Mapping[str, VersionRef]) -> list[VersionRef]:
    """The versions named, each once; what the champion is decides what the others may be."""
    return list(dict.fromkeys(refs[alias] for alias in sorted(refs, key=lambda alias: alias != CHAMPION)))


def _log_changes(before: Desired, after: Desired) -> None:
    for name in before.keys() - after.keys():
        log.info("policy_removed", policy=name)
    for name, refs in after.items():
        if refs != before.get(name):
            log.info("aliases_switched", policy=name, **{alias: ref.version for alias, ref in refs.items()})
