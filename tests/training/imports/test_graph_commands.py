"""`polserve import cleanrl` and `polserve import onnx` write versions that load."""

import json
from pathlib import Path

import numpy as np
import pytest
from torch import nn
from typer.testing import CliRunner

from polserve import load
from polserve.training.commands.imports import imports
from polserve.training.errors import ImportRefused
from tests.support import cleanrl_files, graphs

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns at its import


def carried_out(*arguments: object) -> dict[str, object]:
    """Figures that the command prints."""
    result = CliRunner().invoke(imports, [*map(str, arguments), "--no-register", "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    figures: dict[str, object] = json.loads(result.stdout.splitlines()[-1])
    return figures


def test_a_file_of_cleanrl_becomes_a_version(tmp_path: Path) -> None:
    network = cleanrl_files.seeded(lambda: cleanrl_files.Network(cleanrl_files.mlp([4, 16, 2], nn.ReLU)))
    file = cleanrl_files.save(tmp_path / "dqn.cleanrl_model", network.state_dict())

    figures = carried_out("cleanrl", file, "--env", "CartPole-v1", "--episodes", 2, "--folder", tmp_path / "out")

    assert (figures["policy"], figures["tool"], figures["algorithm"]) == ("cartpole-v1", "CleanRL", "dqn")
    assert (figures["compared_with"], figures["observations"]) == ("the network rebuilt in torch", 1_000)
    assert load(str(figures["folder"])).spec.environment.id == "CartPole-v1"


def test_a_graph_becomes_a_version_named_by_its_spec(tmp_path: Path) -> None:
    file = graphs.save(tmp_path / "graph.onnx", graphs.linear((32,)))
    spec = tmp_path / "spec.yaml"
    spec.write_text("{name: line, algorithm: dqn, tool: hand 1.0, environment: CartPole-v1, values: q}")

    figures = carried_out("onnx", file, "--spec", spec, "--episodes", 2, "--folder", tmp_path / "out")

    assert (figures["policy"], figures["tool"], figures["algorithm"]) == ("line", "hand 1.0", "dqn")
    policy = load(str(figures["folder"]))
    answer = policy.act(graphs.weights(5, 4), with_values=True)
    np.testing.assert_allclose(answer.values, graphs.weights(5, 4) @ graphs.weights(4, 2), rtol=1e-4)  # type: ignore[arg-type]


def test_an_environment_that_is_not_installed_leaves_the_version_unevaluated(tmp_path: Path) -> None:
    file = graphs.save(tmp_path / "graph.onnx", graphs.linear())
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "observation: {shape: [4], components: [{name: x, unit: m}, v, angle, spin]}\n"
        "action: {discrete: {n: 2, labels: [left, right]}}\n"
    )

    figures = carried_out("onnx", file, "--spec", spec, "--env", "NotHere-v0", "--folder", tmp_path / "out")

    stated = load(str(figures["folder"])).spec
    assert figures["mean_return"] is None
    assert list(stated.action.discrete.labels) == ["left", "right"]
    assert stated.observation.components[0].unit == "m"


def test_bounds_that_are_none_are_bad_usage_and_a_wrong_file_a_failure(tmp_path: Path) -> None:
    file = graphs.save(tmp_path / "graph.onnx", graphs.linear())

    usage = CliRunner().invoke(imports, ["cleanrl", str(file), "--action-bounds", "2,-2"])

    assert usage.exit_code == 2
    assert "expected LOW,HIGH" in usage.output
    with pytest.raises(ImportRefused, match=r"graph.onnx: expected what CleanRL's scripts save"):
        carried_out("cleanrl", file)


def test_a_graph_that_takes_a_stack_is_evaluated_on_stacks(tmp_path: Path) -> None:
    file = graphs.save(tmp_path / "graph.onnx", graphs.linear(inputs=16))
    spec = tmp_path / "spec.yaml"
    spec.write_text("{observation: {shape: [4, 4], frames: 4}, inputs: [{name: obs, steps: [{stack: flat}]}]}")

    arguments = ("--env", "CartPole-v1", "--episodes", 2, "--folder", tmp_path / "out")
    figures = carried_out("onnx", file, "--spec", spec, *arguments)

    policy = load(str(figures["folder"]))
    assert (policy.spec.observation.frames, tuple(policy.spec.observation.shape)) == (4, (4, 4))
    stack = graphs.weights(4, 4, seed=5)
    assert policy.act(stack).action == (stack.ravel() @ graphs.weights(16, 2)).argmax()
