"""What a version must be to answer: the policy that was trained, fast enough, and of the live version's spaces."""

from dataclasses import dataclass, replace

from polserve.protos.shared.spaces import changed_space
from polserve.serving.errors import RolloutRefused
from polserve.serving.logs import Log
from polserve.serving.policy import Policy
from polserve.serving.validation.golden_replay import check_golden_file
from polserve.serving.validation.pace import TimedRuns, measure_pace
from polserve.serving.versions import AcceptedVersion, Batching, VersionRef

NEGLIGIBLE_S = 1e-3
"""A version that takes no longer is never too slow in comparison."""

log = Log()


@dataclass(frozen=True, slots=True)
class AcceptanceLimits:
    """How slow a version may be, and whether it may change what clients see."""

    allow_space_change: bool = False
    """Whether a version may have other observations or actions than the live one."""
    latency_budget_s: float = 0.05
    """Seconds that one observation may take."""
    max_slowdown: float = 20.0
    """How many times as long as the live version a version may take."""


def validate(
    ref: VersionRef, live: VersionRef | None, limits: AcceptanceLimits, batching: Batching = "auto"
) -> AcceptedVersion:
    """Load a version, check that it is the policy that was trained and may take the place of `live`, and time it.

    Where the files of `live` are gone or changed, the candidate is not compared with it.

    Raises:
        RolloutRefused: it is not, or may not.
    """
    policy = Policy.load_registered(ref)
    runs = check_golden_file(policy, ref.folder)
    candidate = replace(policy, pace=measure_pace(runs, batching))
    if candidate.pace.alone_s > limits.latency_budget_s:
        raise RolloutRefused(
            f"latency: one observation takes {_ms(candidate.pace.alone_s)}, allowed are "
            f"{_ms(limits.latency_budget_s)}; raise --latency-budget if that is fast enough"
        )
    if live is not None and live != ref:
        _check_beside_files(candidate, live, limits, batching)
    return AcceptedVersion(ref, candidate.pace, candidate.spec.provenance.run_id)


def _check_beside_files(candidate: Policy, live: VersionRef, limits: AcceptanceLimits, batching: Batching) -> None:
    """Compare with the live version, loaded and timed anew: both are timed on the same machine at the same time."""
    try:
        current = Policy.load_registered(live)
    except RolloutRefused as gone:  # which is no fault of the candidate, and would keep every one out
        log.warning("live_version_gone", policy=live.policy, version=live.version, reason=str(gone))
    else:
        check_beside_live(candidate, replace(current, pace=measure_pace(TimedRuns(current), batching)), limits)


def check_beside_live(candidate: Policy, live: Policy, limits: AcceptanceLimits) -> None:
    """Check that the candidate may take the place of the live version.

    Raises:
        RolloutRefused: its spaces are others, or it is too slow beside it.
    """
    changed = None if limits.allow_space_change else changed_space(candidate.spec, live.spec)
    if changed is not None:
        raise RolloutRefused(
            f"{changed.name}: expected {changed.theirs}, as the live version {live.version} has, got {changed.ours}; "
            "clients rely on it; with --allow-space-change it may change"
        )
    allowed_s = max(NEGLIGIBLE_S, limits.max_slowdown * live.pace.alone_s)
    if candidate.pace.alone_s > allowed_s:
        raise RolloutRefused(
            f"latency: one observation takes {_ms(candidate.pace.alone_s)}, the live version {live.version} takes "
            f"{_ms(live.pace.alone_s)}, allowed are {_ms(allowed_s)}; raise --max-slowdown if that is fast enough"
        )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"
