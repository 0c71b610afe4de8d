"""What a registry keeps of a policy's past: the moves of @champion, the decisions on versions, and their rollouts."""

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from polserve.protos.shared.alias_history import Move, parse_history
from polserve.protos.shared.promotions import COMPARISON_FILE, DECISION_RUN_TAG, DECISION_TAG, ROLLOUT_TAG
from polserve.serving.errors import one_line
from polserve.serving.processes.encoding import Message

if TYPE_CHECKING:
    from polserve.serving.sources.registry import Model, RecordedRun

MOST_DECISIONS = 20
"""The latest decisions on a policy that are read."""
BINS = 40
MOST_EVIDENCE_BYTES = 8 << 20
"""Largest file of evidence that is read: 10,000 games of each side take a twentieth of it."""
EVIDENCE_S = 3.0
"""Time after which the evidence that is still missing is left for the next look: the aliases must be followed, too."""
IQM = "IQM"
"""The figure that decided before records named it: the interquartile mean."""
NOT_READ_YET = "its games are still being read from the registry"


@dataclass(frozen=True, slots=True)
class Evidence:
    """The games that a decision rests on: the figures of both sides, and how often each return came."""

    environment: str
    episodes: int
    first_seed: int
    confidence: float
    candidate: Mapping[str, float]
    champion: Mapping[str, float]
    iqm_difference: Mapping[str, float]
    mean_difference: Mapping[str, float]
    improvement: Mapping[str, float]
    deciding: str
    """The figure whose difference decided: "IQM" or "mean"."""
    loss_allowed: float | None
    """Loss that the candidate was allowed, in returns; None where the record does not say."""
    low: float
    """The least return of both sides, where the first bin begins; the bins are alike."""
    high: float
    candidate_counts: Sequence[int]
    champion_counts: Sequence[int]


@dataclass(frozen=True, slots=True)
class RecordedDecision:
    """A decision on a version, as `polserve promote` recorded it."""

    version: str
    champion: str
    """The version that it would have replaced; empty where there was none."""
    kind: str
    reason: str
    at: str
    """The moment of the decision, in UTC, ISO 8601."""
    run_id: str = ""
    criteria: Mapping[str, str] | None = None
    evidence: Evidence | None = None
    problem: str = ""
    """Why there is no evidence though games were played; empty where there is, or where none were."""


@dataclass(frozen=True, slots=True)
class RecordedRollout:
    """How the rollout of a version on a service ended the last time."""

    version: str
    service: str
    outcome: str
    at: str
    reason: str


class HistoryStore(Protocol):
    """The registry as the reader of histories needs it; whatever it does wrong is raised as it comes."""

    def model(self, name: str) -> "Model | None":
        """Ask for the registered model of that name; None where there is none."""

    def version_tags(self, policy: str) -> Mapping[str, Mapping[str, str]]:
        """Ask for the tags of a policy's latest versions, by version."""

    def decision_runs(self, policy: str, most: int) -> "list[RecordedRun]":
        """Ask for the runs of the latest decisions on a policy, the latest first."""

    def run_file(self, run_id: str, name: str, most_bytes: int) -> bytes:
        """Read a file of a run; raises ValueError where it is larger."""


class HistoryReader:
    """Reads histories; evidence, which never changes, is read once."""

    def __init__(self, store: HistoryStore) -> None:
        self._store = store
        self._evidence: dict[str, dict[str, Evidence]] = {}
        """What was read of the latest runs, by policy and run."""

    def read(self, policy: str) -> Message:
        """Return the history of a policy as JSON.

        Raises:
            Exception: the registry does not answer.
        """
        model = self._store.model(policy)
        if model is None:
            raise LookupError(f"there is no registered model {policy!r}")
        tags = self._store.version_tags(policy)
        runs = self._store.decision_runs(policy, MOST_DECISIONS)
        known = dict(self._evidence.get(policy, {}))
        decisions = [*self._with_evidence(runs, known), *_without_run(tags, {run.run_id for run in runs})]
        self._evidence[policy] = {run.run_id: known[run.run_id] for run in runs if run.run_id in known}
        moves: list[Move] = parse_history(model.history)
        return {
            "moves": [asdict(move) for move in moves],
            "decisions": [asdict(decision) for decision in decisions],
            "rollouts": [asdict(rollout) for rollout in _rollouts(tags)],
        }

    def _with_evidence(self, runs: "Iterable[RecordedRun]", known: dict[str, Evidence]) -> Iterator[RecordedDecision]:
        """Yield the decisions of runs, and add to `known` the evidence that is read for them."""
        until = time.monotonic() + EVIDENCE_S
        for run in runs:
            decision = _decision(run)
            if decision.criteria is None:  # nobody played
                yield decision
                continue
            problem = ""
            if run.run_id not in known and time.monotonic() < until:
                try:
                    file = self._store.run_file(run.run_id, COMPARISON_FILE, MOST_EVIDENCE_BYTES)
                    known[run.run_id] = summarise(file)
                except Exception as error:  # noqa: BLE001 - a file that is gone or no evidence hides no decision
                    problem = f"its games cannot be read: {one_line(error)}"
            evidence = known.get(run.run_id)
            yield replace(decision, evidence=evidence, problem="" if evidence else problem or NOT_READ_YET)


def summarise(file: bytes) -> Evidence:
    """Summarise the file of evidence that a promotion left.

    Raises:
        ValueError: it is none.
    """
    try:
        recorded = json.loads(file)
        returns = [np.asarray(recorded[f"{side}_returns"], np.float64) for side in ("candidate", "champion")]
        if not all(side.size and np.isfinite(side).all() for side in returns):
            raise ValueError("expected finite returns of both sides")
        low, high = _bin_range(float(min(map(np.min, returns))), float(max(map(np.max, returns))))
        candidate, champion = ([int(n) for n in np.histogram(side, BINS, (low, high))[0]] for side in returns)
        comparison = recorded["comparison"]
        names = ("candidate", "champion", "iqm_difference", "mean_difference", "improvement")
        return Evidence(
            environment=str(recorded["environment"]),
            episodes=int(comparison["episodes"]),
            first_seed=int(recorded["first_seed"]),
            confidence=_finite(comparison["confidence"]),
            **{name: {key: _finite(value) for key, value in comparison[name].items()} for name in names},
            deciding=str(comparison.get("deciding", IQM)),
            loss_allowed=None if (loss := recorded.get("loss_allowed")) is None else _finite(loss),
            low=low,
            high=high,
            candidate_counts=candidate,
            champion_counts=champion,
        )
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{COMPARISON_FILE} is not what `polserve promote` writes: {error}") from error


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"expected a finite number, got {value!r}")
    return number


def _bin_range(low: float, high: float) -> tuple[float, float]:
    """Return the ends of the bins, far enough apart for them though all returns be large and alike."""
    least = max(1.0, 1e-6 * abs(low), 1e-6 * abs(high)) / 2
    return (low, high) if high - low > 1e-6 * least else (low - least, high + least)


def _decision(run: "RecordedRun") -> RecordedDecision:
    criteria: dict[str, str] = {name: run.params[name] for name in ("rule", "margin", "episodes") if name in run.params}
    return RecordedDecision(
        version=run.tags.get("candidate", ""),
        champion=run.tags.get("champion", ""),
        kind=run.tags.get("decision", ""),
        reason=run.tags.get("reason", ""),
        at=run.at,
        run_id=run.run_id,
        criteria=criteria or None,
    )


def _without_run(tags: Mapping[str, Mapping[str, str]], runs: set[str]) -> Iterator[RecordedDecision]:
    """Yield the latest decision on each version of which no run is listed, such as that on the first version."""
    for version, own in tags.items():
        if DECISION_TAG in own and own.get(DECISION_RUN_TAG, "") not in runs:
            kind, at, reason = _words(own[DECISION_TAG])
            yield RecordedDecision(version, "", kind, reason, at, own.get(DECISION_RUN_TAG, ""))


def _rollouts(tags: Mapping[str, Mapping[str, str]]) -> Iterator[RecordedRollout]:
    for version, own in tags.items():
        for tag, text in own.items():
            if tag.startswith(ROLLOUT_TAG):
                yield RecordedRollout(version, tag.removeprefix(ROLLOUT_TAG), *_words(text))


def _words(text: str) -> tuple[str, str, str]:
    """Take a tag's text apart: what happened, when, and why."""
    happened, _, rest = text.partition(" ")
    at, _, reason = rest.partition(" ")
    return happened, at, reason
