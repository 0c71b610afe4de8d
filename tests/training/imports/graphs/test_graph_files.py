"""Files that are no graph a service can have are refused with what they are and what to do."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.helper import make_node, make_opsetid

from polserve.training.errors import ImportRefused
from polserve.training.imports.graphs import reading
from polserve.training.imports.graphs.importer import read_onnx
from polserve.training.imports.graphs.spec_file import form_of
from polserve.training.imports.places import Place
from tests.support.graphs import FLOAT, FOUR_TO_TWO, check_answers_as_it_came, linear, model, read, save, weights


def external(folder: Path) -> Path:
    """Graph whose weights lie in a file beside it."""
    path = folder / "graph.onnx"
    onnx.save(linear(inputs=64), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


def read_external(path: Path) -> None:
    spec = {"observation": {"shape": [64]}, "action": {"discrete": 2}}
    check_answers_as_it_came(read_onnx(path, form_of(spec, "spec.yaml"), Place()))


def test_weights_beside_the_file_are_read_into_the_policys_graph(tmp_path: Path) -> None:
    read_external(external(tmp_path))


def test_weights_that_are_missing_beside_the_file_are_named(tmp_path: Path) -> None:
    path = external(tmp_path)
    (tmp_path / "weights.bin").unlink()

    with pytest.raises(ImportRefused, match=r"another file, 'weights.bin', expected beside it .* in one piece"):
        read_external(path)


def test_weights_elsewhere_on_this_machine_are_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    path = external(folder)
    (folder / "weights.bin").rename(tmp_path / "weights.bin")
    graph = onnx.load(path, load_external_data=False)
    for entry in graph.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../weights.bin"
    save(path, graph)

    with pytest.raises(ImportRefused, match=r"another file, '../weights.bin', expected beside it"):
        read_external(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "without any"),
        (b"not a graph at all", "expected an ONNX graph, got a file that is none"),
        (pickle.dumps({"weights": 1}), "got a pickle, which is never read"),
        (b"\x89HDF\r\n\x1a\n", "got HDF5, as older Keras writes"),
        (onnx.ModelProto(ir_version=10).SerializeToString(), "without any"),
    ],
)
def test_a_file_of_another_kind_is_told_by_its_content(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    path.write_bytes(content)

    with pytest.raises(ImportRefused, match=says):
        reading.read_graph(path)


def test_an_archive_is_told_as_one(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")

    with pytest.raises(ImportRefused, match=r"got an archive, as torch.save, Keras and stable-baselines3 write"):
        reading.read_graph(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    with path.open("wb") as file:
        file.truncate(reading.MOST_BYTES + 1)  # takes no room on the disk

    with pytest.raises(ImportRefused, match=r"expected at most 1,073,741,824 bytes, got 1,073,741,825"):
        reading.read_graph(path)


def test_operators_that_no_service_has_are_named(tmp_path: Path) -> None:
    graph = model(
        [make_node("Attend", ["obs"], ["q"], domain="com.example")],
        {"obs": (FLOAT, ["n", 4])},
        {"q": (FLOAT, ["n", 2])},
        {},
    )
    graph.opset_import.append(make_opsetid("com.example", 1))

    with pytest.raises(ImportRefused, match=r"custom ones, which no service has: com.example::Attend"):
        read(tmp_path, graph, FOUR_TO_TWO)


def test_operators_that_the_file_defines_itself_are_read(tmp_path: Path) -> None:
    graph = model(
        [make_node("Score", ["obs", "w"], ["q"], domain="local")],
        {"obs": (FLOAT, ["n", 4])},
        {"q": (FLOAT, ["n", 2])},
        {"w": weights(4, 2)},
    )
    product = make_node("MatMul", ["x", "y"], ["z"])
    graph.functions.append(
        onnx.helper.make_function("local", "Score", ["x", "y"], ["z"], [product], [make_opsetid("", 18)])
    )
    graph.opset_import.append(make_opsetid("local", 1))

    check_answers_as_it_came(read(tmp_path, graph, FOUR_TO_TWO))


def test_weights_that_are_no_numbers_are_refused_by_name(tmp_path: Path) -> None:
    graph = linear()
    broken = weights(4, 2)
    broken[1, 1] = np.nan
    graph.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(broken, "w"))

    with pytest.raises(ImportRefused, match=r"graph.onnx: w: expected weights that are numbers, got NaN"):
        read(tmp_path, graph, FOUR_TO_TWO)


def test_a_graph_that_draws_at_random_is_refused(tmp_path: Path) -> None:
    nodes = [
        make_node("MatMul", ["obs", "w"], ["mean"]),
        make_node("RandomNormalLike", ["mean"], ["noise"]),
        make_node("Add", ["mean", "noise"], ["q"]),
    ]
    graph = model(nodes, {"obs": (FLOAT, ["n", 4])}, {"q": (FLOAT, ["n", 2])}, {"w": weights(4, 2)})

    with pytest.raises(ImportRefused, match=r"draws at random \(RandomNormalLike\)"):
        read(tmp_path, graph, FOUR_TO_TWO)


def test_a_graph_that_onnx_runtime_does_not_load_is_refused_with_its_reason(tmp_path: Path) -> None:
    graph = model(
        [make_node("MatMul", ["obs", "nowhere"], ["q"])], {"obs": (FLOAT, ["n", 4])}, {"q": (FLOAT, ["n", 2])}, {}
    )

    with pytest.raises(ImportRefused, match=r"expected a graph that ONNX Runtime loads: .*nowhere"):
        read(tmp_path, graph, FOUR_TO_TWO)
