"""The spec that a person writes beside a graph: what the graph takes, what it gives, and the steps around it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, PositiveInt, model_validator

from polserve.training.imports.graphs.answers import ANSWERS
from polserve.training.imports.graphs.arguments import StepFault, nothing
from polserve.training.imports.graphs.shapes import flatten, layout, reshape, stack, take, transpose
from polserve.training.imports.graphs.steps import Step, clip, denormalize, divide, normalize, one_hot, scale, shift

STEPS: Mapping[str, Callable[[Any], Step]] = {
    "clip": clip,
    "denormalize": denormalize,
    "divide": divide,
    "flatten": flatten,
    "layout": layout,
    "normalize": normalize,
    "one_hot": one_hot,
    "reshape": reshape,
    "scale": scale,
    "shift": shift,
    "stack": stack,
    "take": take,
    "transpose": transpose,
    **ANSWERS,
}
"""Reader of each step, by its name in the spec."""
BOUNDS = "bounds"
TO_BOUNDS = "to_bounds"


@dataclass(frozen=True, slots=True)
class AtBounds:
    """A step whose numbers are the bounds of the actions, which may be known only later."""

    is_scaled: bool
    """Whether [-1, 1] is scaled to the bounds, in place of cutting off at them."""


def read_step(item: Any) -> Step | AtBounds:
    """Read a step: its name, or its name with an argument."""
    if isinstance(item, str):
        name, argument = item, None
    elif isinstance(item, Mapping) and len(item) == 1:
        name, argument = next(iter(item.items()))
    else:
        raise StepFault("a step, such as argmax or {scale: 0.5}", item)
    if name == TO_BOUNDS:
        nothing(argument)
        return AtBounds(is_scaled=True)
    if name == "clip" and argument == BOUNDS:
        return AtBounds(is_scaled=False)
    if name not in STEPS:
        raise StepFault(f"one of {', '.join(sorted([*STEPS, TO_BOUNDS]))}", name)
    try:
        return STEPS[name](argument)
    except StepFault as fault:
        raise ValueError(f"{name}: {fault}") from fault


def read_plain_step(item: Any) -> Step:
    """Read a step that needs no bounds of actions."""
    step = read_step(item)
    if isinstance(step, AtBounds):
        raise StepFault("other steps, since to_bounds and clip: bounds go with actions only", item)
    return step


Steps: TypeAlias = list[Annotated[Any, PlainValidator(read_step)]]
PlainSteps: TypeAlias = list[Annotated[Any, PlainValidator(read_plain_step)]]
Numbers: TypeAlias = float | list[float]


class Form(BaseModel):
    """A part of the spec, which knows no other fields than its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class ComponentForm(Form):
    """A component's name, and its unit where it has one."""

    name: str
    unit: str = ""


Components: TypeAlias = list[Annotated[ComponentForm, BeforeValidator(_named)]]


class ObservationForm(Form):
    """What one observation is."""

    dtype: Literal["float32", "float64", "uint8", "int32", "int64", "bool"] = "float32"
    shape: list[PositiveInt]
    """Without the batch; an empty list for one number, as a Discrete has."""
    frames: int = Field(0, ge=0)
    low: Numbers = float("-inf")
    high: Numbers = float("inf")
    components: Components = []


class InputForm(Form):
    """What one input of the graph is given."""

    name: str
    take: tuple[int, int] | list[str] | str | None = None
    """Numbers [from, to] of the flattened observation, or names in it; None for all, in their shape."""
    steps: PlainSteps = []
    value: float | list[float] | bool | None = None
    """Constant that it is given, in place of anything of the observation."""
    state: Literal[False] | None = None
    """False where the constant is no state, although an output seems to be its next value."""


class DiscreteForm(Form):
    """Numbered actions."""

    n: PositiveInt
    start: int = 0
    labels: list[str] = []

    @model_validator(mode="after")
    def _has_all_labels(self) -> Self:
        if self.labels and len(self.labels) != self.n:
            raise ValueError(f"expected {self.n} labels, got {len(self.labels)}")
        return self


def _counted(value: Any) -> Any:
    return {"n": value} if isinstance(value, int) and not isinstance(value, bool) else value


class ContinuousForm(Form):
    """Actions of numbers between bounds, in the environment's own units."""

    low: Numbers
    high: Numbers
    components: Components = []

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        lows, highs = (bound if isinstance(bound, list) else [bound] for bound in (self.low, self.high))
        if len(lows) != len(highs) and 1 not in {len(lows), len(highs)}:
            raise ValueError(f"expected as many numbers in low as in high, got {len(lows)} and {len(highs)}")
        n = max(len(lows), len(highs))
        pairs = zip(lows * (n // len(lows)), highs * (n // len(highs)), strict=True)
        for i, (low, high) in enumerate(pairs):
            if not low < high:
                raise ValueError(f"expected low below high, got low {low} and high {high} for component {i}")
        return self


class ActionForm(Form):
    """What an action is, and how the graph's output becomes one."""

    discrete: Annotated[DiscreteForm, BeforeValidator(_counted)] | None = None
    multi_discrete: list[PositiveInt] | None = Field(None, min_length=1)
    """How many values each of several choices has."""
    multi_binary: PositiveInt | None = None
    """How many choices of 0 or 1 there are."""
    continuous: ContinuousForm | None = None
    output: str | Annotated[list[str], Field(min_length=1)] | None = None
    """Output of the graph, or several that are joined; None where it has one."""
    steps: Steps | None = None
    """Steps after it; None for what its type suggests."""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        spaces = ("discrete", "multi_discrete", "multi_binary", "continuous")
        given = [name for name in spaces if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"expected one of {', '.join(spaces)}, got {' and '.join(given)}")
        return self


class ValuesForm(Form):
    """The output that holds a value for each action, and the steps after it."""

    output: str
    steps: PlainSteps = []


class GraphForm(Form):
    """The whole spec."""

    name: str | None = None
    """Name of the policy."""
    algorithm: str = "onnx"
    """What trained it, as the spec of the version names it."""
    tool: str = "an ONNX file"
    """Where the graph came from, such as "keras 3.15"."""
    environment: str = ""
    """Gymnasium id of the environment, where no option names it."""
    observation: ObservationForm | None = None
    inputs: list[InputForm] | None = None
    action: ActionForm = ActionForm()
    values: Annotated[ValuesForm, BeforeValidator(lambda v: {"output": v} if isinstance(v, str) else v)] | None = None
