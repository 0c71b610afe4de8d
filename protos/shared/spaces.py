"""The spaces of two versions, compared: what a client relies on when a version takes the place of another."""

from collections.abc import Iterable
from dataclasses import dataclass

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.tensors import DTYPES

SPACES = ("observation space", "observation components", "action space", "action components", "allocation")
"""What is compared, in the order of its description."""


@dataclass(frozen=True, slots=True)
class ChangedSpace:
    """A space that differs between two versions."""

    name: str
    """One of `SPACES`."""
    ours: str
    """The candidate's, in words."""
    theirs: str
    """The one of the version that it would replace."""


def changed_space(candidate: pb.PolicySpec, live: pb.PolicySpec) -> ChangedSpace | None:
    """Return the first space in which a candidate differs from the live version; None where clients notice nothing.

    What only one of the two names, such as labels, is no difference.
    """
    for name, ours, theirs in zip(SPACES, _spaces(candidate), _spaces(live), strict=True):
        if ours != theirs and ours and theirs:
            return ChangedSpace(name, ours, theirs)
    return None


def _spaces(spec: pb.PolicySpec) -> tuple[str, ...]:
    """Describe what clients rely on in a spec, in the order of `SPACES`; empty where the spec names nothing.

    The bounds of an allocator are those of the money that it learned with. No client relies on them, and each fit to a
    longer history moves them.
    """
    seen, does, budget = spec.observation, spec.action, spec.allocation
    is_allocator = spec.HasField("allocation")
    stack = f" in stacks of {seen.frames}" if seen.frames else ""
    bounds = f" from {list(seen.low)} to {list(seen.high)}" if seen.is_bounded and not is_allocator else ""
    action, components = _actions(does)
    if is_allocator:
        action = f"spends of {len(does.continuous.low)} channels"
    return (
        f"{DTYPES[seen.dtype].name} {tuple(seen.shape)}{stack}{bounds}{_parts(seen.parts)}",
        _names(seen.components),
        action,
        components,
        _budgets(budget) if is_allocator else "no budget",
    )


def _budgets(budget: pb.AllocationSpec) -> str:
    """Describe which budgets an allocator splits: a shorter horizon refuses what a longer one answers."""
    return f"{budget.currency} to {', '.join(budget.channels)} within {budget.max_horizon_days} days"


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
