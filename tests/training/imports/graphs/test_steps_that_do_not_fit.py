"""Whatever steps a spec names, each fits what it is given and leaves the batch alone, or is refused in a sentence."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polserve.training.errors import ImportRefused
from polserve.training.imports.graphs.form import AtBounds, read_step
from polserve.training.imports.graphs.wiring import computed
from tests.support.graphs import FOUR_TO_TWO, linear, read

N = 5
NUMBERS = st.sampled_from([0.5, [2], [1, 2], [1, 2, 3], [1, 2, 3, 4]])
STEPS = st.one_of(
    st.sampled_from(["argmax", "mean", "softmax", "tanh", "flatten"]),
    st.builds(lambda name, argument: {name: argument}, st.sampled_from(["scale", "divide", "shift"]), NUMBERS),
    st.builds(lambda mean, std: {"normalize": {"mean": mean, "std": std}}, NUMBERS, NUMBERS),
    st.builds(lambda mean, std: {"denormalize": {"mean": mean, "std": std}}, NUMBERS, NUMBERS),
    st.sampled_from(
        [
            {"clip": [-1, 1]},
            {"clip": [[-1, -1], [1, 1]]},
            {"clip": [[-1] * 5, [1] * 5]},
            {"one_hot": 2},
            {"one_hot": [2, 3]},
            {"layout": "nchw"},
            {"transpose": [1, 0]},
            {"transpose": [0]},
            {"reshape": [2, 2]},
            {"reshape": []},
            {"reshape": [1, 1, 1]},
            {"take": [0, 1]},
            {"take": [1, 3]},
            {"stack": "last"},
            {"stack": "flat"},
        ]
    ),
)
SHAPES = st.sampled_from([(), (1,), (2,), (4,), (2, 2), (3, 4, 2)])


@given(steps=st.lists(STEPS, min_size=1, max_size=4), shape=SHAPES, dtype=st.sampled_from([np.float32, np.int64]))
@settings(max_examples=400, deadline=None)
def test_steps_keep_the_batch_or_are_refused(steps: list[Any], shape: tuple[int, ...], dtype: type[Any]) -> None:
    array = np.arange(N * int(np.prod(shape, dtype=int))).reshape(N, *shape).astype(dtype)
    read_steps = [step for step in map(read_step, steps) if not isinstance(step, AtBounds)]
    with contextlib.suppress(ImportRefused):
        assert len(computed("action.steps", read_steps, array)) == N


@pytest.mark.parametrize("step", ["argmax", "mean", "softmax"])
def test_a_step_along_the_last_axis_asks_for_one_besides_the_batch(step: str, tmp_path: Path) -> None:
    action = {"discrete": 2, "steps": ["argmax", step]}

    with pytest.raises(ImportRefused, match=rf"action.steps.1: {step} does not .* expected an axis besides the batch"):
        read(tmp_path, linear(), {**FOUR_TO_TWO, "action": action})


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"inputs": [{"name": "obs", "steps": [{"clip": "bounds"}]}]}, "inputs.0.steps.0"),
        ({"inputs": [{"name": "obs", "steps": ["to_bounds"]}]}, "inputs.0.steps.0"),
        ({"values": {"output": "q", "steps": ["to_bounds"]}}, "values.steps.0"),
    ],
)
def test_the_bounds_of_actions_go_with_actions_only(given: dict[str, Any], field: str, tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match=rf"{field}: expected other steps, since to_bounds and clip: bounds go"):
        read(tmp_path, linear(), {**FOUR_TO_TWO, **given})


@pytest.mark.parametrize(("low", "high"), [(-1, [1, 2]), ([-1, -2], 1)])
def test_a_clip_asks_for_as_many_bounds_as_numbers(low: Any, high: Any, tmp_path: Path) -> None:
    action = {"continuous": {"low": low, "high": high}, "steps": [{"take": [0, 1]}, {"clip": "bounds"}]}

    with pytest.raises(ImportRefused, match=r"action.steps.1: clip does not fit .* as many numbers as the last axis"):
        read(tmp_path, linear(), {**FOUR_TO_TWO, "action": action})
