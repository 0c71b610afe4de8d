"""The spec beside a graph is checked field by field."""

from pathlib import Path

import pytest

from polserve.training.errors import ImportRefused
from polserve.training.imports.graphs.form import InputForm
from polserve.training.imports.graphs.spec_file import read_form
from polserve.training.imports.graphs.steps import Normalize


def written(folder: Path, text: str) -> Path:
    path = folder / "spec.yaml"
    path.write_text(text)
    return path


def test_every_field_is_read(tmp_path: Path) -> None:
    form = read_form(
        written(
            tmp_path,
            """
            name: lander
            algorithm: dqn
            tool: keras 3.15
            environment: LunarLander-v3
            observation: {dtype: float32, shape: [2], low: -1, high: [1, .inf], components: [x, {name: v, unit: m/s}]}
            inputs:
              - name: obs
                steps: [{normalize: {mean: 0, variance: 1, epsilon: 1e-8}}]
            action: {discrete: {n: 2, labels: [left, right]}, output: q, steps: [argmax]}
            values: q
            """,
        )
    )

    assert (form.name, form.algorithm, form.tool, form.environment) == ("lander", "dqn", "keras 3.15", "LunarLander-v3")
    assert form.observation is not None
    assert [component.unit for component in form.observation.components] == ["", "m/s"]
    assert form.action.discrete is not None
    assert form.action.discrete.labels == ["left", "right"]
    assert form.values is not None
    assert form.values.output == "q"
    assert form.inputs is not None
    assert isinstance(form.inputs[0], InputForm)
    assert isinstance(form.inputs[0].steps[0], Normalize)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "action: {continuous: {low: [1, 1], high: [2, -2]}}",
            "action.continuous: expected low below high, got low 1.0",
        ),
        (
            "action: {continuous: {low: [1, 2], high: [3, 4, 5]}}",
            "expected as many numbers in low as in high, got 2 and 3",
        ),
        (
            "action: {discrete: 2, continuous: {low: 0, high: 1}}",
            "action: expected one of discrete, .*, got discrete and continuous",
        ),
        ("action: {discrete: {n: 2, labels: [a]}}", "action.discrete: expected 2 labels, got 1"),
        ("action: {discrete: many}", "action.discrete: expected fields with values, got 'many'"),
        (
            "action: {stps: []}",
            "action.stps: expected no such field; known here are discrete, multi_discrete,",
        ),
        ("action: {steps: [argmx]}", "action.steps.0: expected one of argmax, .*, got argmx"),
        ("observation: {dtype: float}", "observation.shape: expected a value, got none"),
        ("observation: {shape: [0]}", "observation.shape.0: expected greater than 0, got 0"),
        ("observation: {shape: [1], dtype: int8}", "observation.dtype: expected 'float32', .*, got 'int8'"),
        ("inputs: [{take: [0, 1]}]", "inputs.0.name: expected a value, got none"),
        ("inputs: [{name: a, steps: [{scale: x}]}]", "inputs.0.steps.0: scale: expected a number"),
        (
            "inputs: [{name: a, take: [0]}]",
            r"inputs.0.take: expected \[from, to\], a name, or a list of names, got \[0\];",
        ),
        (
            "inputs: [{name: a, value: x}]",
            "inputs.0.value: expected a number, a list of numbers, true or false, got 'x';",
        ),
        ("observation: {shape: [1], low: x}", "observation.low: expected a number, or a list of numbers, got 'x';"),
        ("action: {discrete: yes}", "action.discrete: expected fields with values, got True"),
        ("action: {continuous: {low: 0}}", "action.continuous.high: expected a value, got none"),
        ("action: {low: 0}", "action.low: expected no such field"),
        ("- a list", r"spec.yaml: expected fields with values, got \['a list'\]"),
        ("{", "expected YAML, got something else"),
        ("!!python/object/apply:os.system [echo]", "expected YAML, got something else"),
    ],
)
def test_what_is_wrong_is_said_by_field(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match=says):
        read_form(written(tmp_path, text))


def test_a_spec_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match=r"nowhere.yaml: expected a file that can be read: No such file"):
        read_form(tmp_path / "nowhere.yaml")
