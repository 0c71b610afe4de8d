"""Each step is computed twice, by numpy and as nodes of the graph; both agree, and with numbers worked out by hand."""

from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from onnx.helper import np_dtype_to_tensor_dtype
from onnxruntime import InferenceSession

from polserve.training.imports.graphs.arguments import StepFault
from polserve.training.imports.graphs.form import AtBounds, read_step
from polserve.training.imports.graphs.nodes import Nodes
from polserve.training.imports.graphs.steps import Step
from tests.support.graphs import model

FLAT = np.array([[1.0, -2.0, 3.0, 0.5], [0.0, 4.0, -1.0, 2.0]], np.float32)
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), np.uint8)
STACKS = np.random.default_rng(1).normal(size=(2, 3, 4, 5)).astype(np.float32)
COLOURS = np.random.default_rng(2).integers(0, 256, (2, 3, 4, 5, 2), np.uint8)
WHOLE = np.array([[2, 0], [1, 3]], np.int64)


def read(text: str) -> Step:
    step = read_step(yaml.safe_load(text))
    assert not isinstance(step, AtBounds)
    return step


def run_nodes(step: Step, array: NDArray[Any]) -> NDArray[Any]:
    """What the step's nodes make of an array, at another batch size than the one that they were made with."""
    nodes = Nodes()
    result = step.emit(nodes, "given", array)
    expected = step.compute(array)
    kinds = {name: np_dtype_to_tensor_dtype(dtype) for name, dtype in (("in", array.dtype), ("out", expected.dtype))}
    made = model(
        nodes.nodes,
        {"given": (kinds["in"], ["n", *array.shape[1:]])},
        {result: (kinds["out"], ["n", *expected.shape[1:]])},
        {},
    )
    made.graph.initializer.extend(nodes.constants)
    session = InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    rows = [session.run(None, {"given": array[i : i + 1]})[0] for i in range(len(array))]
    return np.concatenate(rows)


@pytest.mark.parametrize(
    ("text", "array"),
    [
        ("scale: 0.5", FLAT),
        ("scale: [1, 2, 3, 4]", FLAT),
        ("scale: 0.00392156862745098", IMAGES),
        ("divide: 255", IMAGES),
        ("divide: [1, 2, 4, 8]", FLAT.astype(np.float64)),
        ("shift: [-1, 0, 1, 2]", FLAT),
        ("shift: 1", WHOLE),
        ("clip: [-1, 1]", FLAT),
        ("clip: [[-1, -2, 0, 0], [1, 2, 1, 1]]", FLAT),
        ("normalize: {mean: [1, 2, 3, 4], variance: [4, 1, 0.25, 0], epsilon: 0.01, clip: 3}", FLAT),
        ("normalize: {mean: 127.5, std: 64}", IMAGES),
        ("denormalize: {mean: [1, 2, 3, 4], std: 2}", FLAT),
        ("one_hot: 4", WHOLE),
        ("one_hot: [3, 5]", WHOLE),
        ("one_hot: {n: 4, start: 1}", WHOLE),
        ("transpose: [2, 0, 1]", IMAGES),
        ("layout: nchw", IMAGES),
        ("layout: nhwc", STACKS),
        ("reshape: [2, 2]", FLAT),
        ("flatten", IMAGES),
        ("stack: last", STACKS),
        ("stack: first", STACKS),
        ("stack: flat", STACKS),
        ("stack: last", COLOURS),
        ("stack: first", COLOURS),
        ("stack: last", STACKS[:, :, 0]),
        ("take: [1, 3]", FLAT),
        ("tanh", FLAT),
        ("softmax", FLAT),
        ("argmax", FLAT),
        ("argmax", WHOLE),
        ("mean", STACKS),
    ],
)
def test_a_step_is_the_same_in_the_graph_as_in_numpy(text: str, array: NDArray[Any]) -> None:
    step = read(text)

    expected, got = step.compute(array), run_nodes(step, array)

    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "array", "expected"),
    [
        ("clip: [-1, 1]", FLAT, [[1, -1, 1, 0.5], [0, 1, -1, 1]]),
        ("normalize: {mean: 1, variance: 3, epsilon: 1, clip: 1}", FLAT, [[0, -1, 1, -0.25], [-0.5, 1, -1, 0.5]]),
        ("denormalize: {mean: 1, std: 2}", FLAT, [[3, -3, 7, 2], [1, 9, -1, 5]]),
        ("one_hot: 4", WHOLE, [[0, 0, 1, 0, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0, 1]]),
        ("one_hot: {n: 2, start: 2}", WHOLE, [[1, 0, 0, 0], [0, 0, 0, 1]]),
        ("argmax", FLAT, [2, 1]),
        ("take: [1, 3]", FLAT, [[-2, 3], [4, -1]]),
    ],
)
def test_a_step_gives_the_numbers_that_it_should(text: str, array: NDArray[Any], expected: list[list[float]]) -> None:
    np.testing.assert_allclose(read(text).compute(array), expected, atol=1e-6)


def test_stacked_grey_frames_become_the_last_axis_and_stacked_colours_follow_one_another() -> None:
    grey, colours = read("stack: last").compute(STACKS), read("stack: last").compute(COLOURS)

    assert grey.shape == (2, 4, 5, 3)
    np.testing.assert_array_equal(grey[..., 1], STACKS[:, 1])
    np.testing.assert_array_equal(colours, np.concatenate([COLOURS[:, i] for i in range(3)], axis=-1))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("scael: 1", "expected one of argmax,"),
        ("scale: big", "scale: expected a number"),
        ("divide: 0", "divide: expected numbers other than 0"),
        ("clip: [1, -1]", "clip: expected .* low below high, got .*1, -1"),
        ("clip: 1", "clip: expected .low, high."),
        ("normalize: {variance: 1}", "normalize: expected a mapping with mean"),
        ("normalize: {mean: 0, variance: -1}", "normalize: expected a variance or std above 0"),
        ("transpose: [1, 2]", "transpose: expected each axis"),
        ("layout: hwc", "layout: expected nchw or nhwc, got hwc"),
        ("take: [3, 1]", "take: expected .* from below to"),
        ("argmax: 3", "argmax: expected no argument, got 3"),
        ("to_bounds: 3", "expected no argument, got 3"),
        ("[scale, 2]", "expected a step, such as argmax"),
    ],
)
def test_an_argument_that_is_none_is_refused_with_what_was_expected(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_step(yaml.safe_load(text))


@pytest.mark.parametrize(
    "text", ["scale: [1, 2]", "transpose: [2, 0, 1]", "reshape: [3]", "take: [2, 5]", "one_hot: [2, 2]", "stack: last"]
)
def test_a_step_that_does_not_fit_an_array_says_so(text: str) -> None:
    with pytest.raises(StepFault, match=r"expected .*, got"):
        read(text).compute(FLAT)
