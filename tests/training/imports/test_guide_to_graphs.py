"""The guide's examples for CleanRL's neighbours work as written: a torch module, the spec of a graph, and Keras."""

import re
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import yaml
from onnx import TensorProto
from onnx.helper import make_node

from polserve.training.environments.making import EnvironmentSpec
from polserve.training.imports.graphs.importer import read_onnx
from polserve.training.imports.graphs.spec_file import form_of
from polserve.training.imports.places import find_place
from tests.support.graphs import FLOAT, check_answers_as_it_came, model, save, weights
from tests.support.installing import install_packages
from tests.support.running import ROOT, environment

GUIDE = (ROOT / "docs" / "import.md").read_text()

NAMED_INPUTS = """
angle, velocity = keras.Input((2,), name="angle"), keras.Input((1,), name="velocity")
hidden = keras.layers.Dense(16, "relu")(keras.layers.Concatenate()([angle, velocity]))
actor = keras.Model([angle, velocity], keras.layers.Dense(1, "tanh")(hidden))
seen = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
torques = actor([seen[:, :2], seen[:, 2:3]])
actor.export("actor.onnx", format="onnx", verbose=False)
np.savez("keras.npz", seen=seen, q=np.asarray(model(seen).detach()), torques=np.asarray(torques.detach()))
"""


def block(language: str, about: str) -> str:
    """The guide's code block in a language that has these words in it."""
    (found,) = [text for text in re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL) if about in text]
    return str(found)


@pytest.mark.filterwarnings("ignore")  # MLflow warns at its import and use
def test_the_module_in_the_guide_becomes_a_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = block("python", "polserve.export(").replace(
        "gives=", "episodes=5, progress=False, folder='policies', gives="
    )
    names: dict[str, object] = {}

    with torch.random.fork_rng(devices=[]):
        exec(code, names)  # noqa: S102 - the guide's own

    version = names["version"]
    assert version.path == Path("policies/pole/1")  # type: ignore[attr-defined]


def test_the_spec_in_the_guide_maps_a_graph_of_its_inputs(tmp_path: Path) -> None:
    nodes = [
        make_node("Concat", ["angle", "velocity"], ["row"], axis=1),
        make_node("MatMul", ["row", "w"], ["trained"]),
        make_node("Neg", ["trained"], ["other"]),
        make_node("Where", ["training", "other", "trained"], ["mean"]),
    ]
    inputs = {"angle": (FLOAT, ["n", 2]), "velocity": (FLOAT, ["n", 1]), "training": (TensorProto.BOOL, [])}
    graph = model(nodes, inputs, {"mean": (FLOAT, ["n", 1])}, {"w": weights(3, 1)})  # type: ignore[arg-type]
    form = form_of(yaml.safe_load(block("yaml", "name: pendulum")), "spec.yaml")

    policy = read_onnx(save(tmp_path / "graph.onnx", graph), form, find_place(EnvironmentSpec(form.environment)))

    check_answers_as_it_came(policy)
    row = np.array([[1, 0, 4]], np.float32)
    expected = 2 * np.tanh(row / [1, 1, 8] @ weights(3, 1))
    np.testing.assert_allclose(policy.original(row), expected, rtol=1e-5)


def test_models_of_keras_answer_as_in_keras(tmp_path: Path) -> None:
    python = install_packages(tmp_path / "environment", "keras~=3.15")
    program = block("python", "import keras") + NAMED_INPUTS
    variables = {**environment(KERAS_BACKEND="torch", CUDA_VISIBLE_DEVICES=""), "PYTHONPATH": ""}
    made = subprocess.run(
        [str(python), "-W", "ignore", "-c", program],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=variables,
    )
    assert made.returncode == 0, made.stderr[-2000:]
    keras = np.load(tmp_path / "keras.npz")
    output = onnx.load(tmp_path / "q.onnx").graph.output[0].name

    cartpole = find_place(EnvironmentSpec("CartPole-v1"))
    q = read_onnx(tmp_path / "q.onnx", form_of({"values": output, "algorithm": "dqn"}, "spec.yaml"), cartpole)
    inputs = [{"name": "angle", "take": [0, 2]}, {"name": "velocity", "take": [2, 3]}]
    form = form_of({"inputs": inputs, "action": {"steps": ["to_bounds"]}}, "spec.yaml")
    actor = read_onnx(tmp_path / "actor.onnx", form, find_place(EnvironmentSpec("Pendulum-v1")))

    check_answers_as_it_came(q)
    check_answers_as_it_came(actor)
    assert q.preferences is not None
    np.testing.assert_allclose(q.preferences(keras["seen"]), keras["q"], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(q.original(keras["seen"]), keras["q"].argmax(1))
    np.testing.assert_allclose(actor.original(keras["seen"][:, :3]), 2 * keras["torques"], rtol=1e-4, atol=1e-5)
