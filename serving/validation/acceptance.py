"""What a version must be to answer: the policy that was trained, fast enough, and of the live version's spaces."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.tensors import DTYPES
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
    if not limits.allow_space_change:
        for name, ours, theirs in zip(_SPACES, _spaces(candidate.spec), _spaces(live.spec), strict=True):
            if ours != theirs and ours and theirs:
                raise RolloutRefused(
                    f"{name}: expected {theirs}, as the live version {live.version} has, got {ours}; "
                    "clients rely on it; with --allow-space-change it may change"
                )
    allowed_s = max(NEGLIGIBLE_S, limits.max_slowdown * live.pace.alone_s)
    if candidate.pace.alone_s > allowed_s:
        raise RolloutRefused(
            f"latency: one observation takes {_ms(candidate.pace.alone_s)}, the live version {live.version} takes "
            f"{_ms(live.pace.alone_s)}, allowed are {_ms(allowed_s)}; raise --max-slowdown if that is fast enough"
        )


_SPACES = ("observation space", "observation components", "action space", "action components", "allocation")


def _spaces(spec: pb.PolicySpec) -> tuple[str, ...]:
    """Describe what clients rely on in a spec, in the order of `_SPACES`; empty where the spec names nothing."""
    seen, does = spec.observation, spec.action
    stack = f" in stacks of {seen.frames}" if seen.frames else ""
    bounds = f" from {list(seen.low)} to {list(seen.high)}" if seen.is_bounded else ""
    action, components = _actions(does)
    budget = spec.allocation
    return (
        f"{DTYPES[seen.dtype].name} {tuple(seen.shape)}{stack}{bounds}{_parts(seen.parts)}",
        _names(seen.components),
        action,
        components,
        f"{budget.currency} to {', '.join(budget.channels)}" if spec.HasField("allocation") else "no budget",
    )


def _actions(action: pb.ActionSpec) -> tuple[str, str]:
    """Describe the space of actions, and its components."""
    match action.WhichOneof("space"):
        case "discrete":
            start = f" from {action.discrete.start}" if action.discrete.start else ""
            return f"discrete ({action.discrete.n}){start}", ", ".join(action.discrete.labels)
        case "multi_discrete":
            several = action.multi_discrete
            start = f" from {list(several.start)}" if several.start else ""
            shape = f" of shape {tuple(several.shape)}" if several.shape else ""
            return f"discrete ({', '.join(map(str, several.n))}){start}{shape}", _names(several.components)
        case _:
            space = action.continuous
            shape = f" of shape {tuple(space.shape)}" if space.shape else ""
            return f"continuous from {list(space.low)} to {list(space.high)}{shape}", _names(space.components)


def _parts(parts: Iterable[pb.ObservationPart]) -> str:
    """Describe the parts of an observation, whose places follow from their order; "" where there are none."""
    described = [
        f"{'.'.join(part.path)} {pb.PartKind.Name(part.kind).removeprefix('PART_KIND_').lower()} {tuple(part.shape)}"
        f"{f' of {list(part.n)}' if part.n else ''}{f' from {list(part.start)}' if part.start else ''}".strip()
        for part in parts
    ]
    return f" of {', '.join(described)}" if described else ""


def _names(components: Iterable[pb.Component]) -> str:
    return ", ".join(f"{component.name} {component.unit}".strip() for component in components)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"
