"""What a version must be to take the place of a live one: of the same spaces, and not much slower."""

from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.tensors import DTYPES
from polserve.serving.batching import Batching
from polserve.serving.errors import RolloutRefused
from polserve.serving.policy import Policy
from polserve.serving.sources.source import VersionRef
from polserve.serving.validation.verification import load, verify

NEGLIGIBLE_S = 1e-3
"""A version that takes no longer is never too slow in comparison."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Gate:
    """What may go live."""

    allow_space_change: bool = False
    """Whether a version may have other observations or actions than the live one."""
    latency_budget_s: float = 0.05
    """For one observation, at most."""
    max_slowdown: float = 20.0
    """Times what the live version takes, at most."""


def prove(ref: VersionRef, live: VersionRef | None, gate: Gate, batching: Batching = "auto") -> Policy:
    """The version, which is the policy that was trained and may take the place of `live`.

    Where the files of `live` are gone or changed, it is not compared with the candidate.

    Raises:
        RolloutRefused: it is not, or may not.
    """
    policy = verify(ref, batching)
    if policy.pace.alone_s > gate.latency_budget_s:
        raise RolloutRefused(
            f"latency: one observation takes {_ms(policy.pace.alone_s)}, allowed are {_ms(gate.latency_budget_s)}; "
            "raise --latency-budget if that is fast enough"
        )
    if live is not None and live != ref:
        try:
            current = load(live, batching)
        except RolloutRefused as gone:  # which is no fault of the candidate, and would keep every one out
            log.warning("live_version_gone", policy=live.policy, version=live.version, reason=str(gone))
        else:
            compare(policy, current, gate)
    return policy


def compare(candidate: Policy, live: Policy, gate: Gate) -> None:
    """Return if the candidate may take the place of the live version.

    Raises:
        RolloutRefused: its spaces are others, or it is too slow beside it.
    """
    if not gate.allow_space_change:
        for name, ours, theirs in zip(_SPACES, _spaces(candidate.spec), _spaces(live.spec), strict=True):
            if ours != theirs and ours and theirs:
                raise RolloutRefused(
                    f"{name}: expected {theirs}, as the live version {live.version} has, got {ours}; "
                    "clients rely on it; with --allow-space-change it may change"
                )
    allowed_s = max(NEGLIGIBLE_S, gate.max_slowdown * live.pace.alone_s)
    if candidate.pace.alone_s > allowed_s:
        raise RolloutRefused(
            f"latency: one observation takes {_ms(candidate.pace.alone_s)}, the live version {live.version} takes "
            f"{_ms(live.pace.alone_s)}, allowed are {_ms(allowed_s)}; raise --max-slowdown if that is fast enough"
        )


_SPACES = ("observation space", "observation components", "action space", "action components", "allocation")


def _spaces(spec: pb.PolicySpec) -> tuple[str, ...]:
    """What clients rely on, in words, in the order of `_SPACES`; empty where the spec names nothing."""
    seen, does = spec.observation, spec.action
    stack = f" in stacks of {seen.frames}" if seen.frames else ""
    bounds = f" from {list(seen.low)} to {list(seen.high)}" if seen.is_bounded else ""
    if does.WhichOneof("space") == "discrete":
        action, components = f"discrete ({does.discrete.n})", ", ".join(does.discrete.labels)
    else:
        action = f"continuous from {list(does.continuous.low)} to {list(does.continuous.high)}"
        components = _names(does.continuous.components)
    budget = spec.allocation
    return (
        f"{DTYPES[seen.dtype].name} {tuple(seen.shape)}{stack}{bounds}",
        _names(seen.components),
        action,
        components,
        f"{budget.currency} to {', '.join(budget.channels)}" if spec.HasField("allocation") else "no budget",
    )


def _names(components: Iterable[pb.Component]) -> str:
    return ", ".join(f"{component.name} {component.unit}".strip() for component in components)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"
