import sys
import threading
from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.golden import BATCHES, GoldenMismatch, check_golden
from polserve.protos.shared.names import MIN_GOLDEN
from polserve.training.errors import ExportRefused
from polserve.training.versions.export import export_graph, export_policy
from polserve.training.versions.onnx_policy import OnnxPolicy, measure_parity
from tests.support.exports import export_cartpole
from tests.support.running import ROOT


class FromDouble(nn.Module):
    """Takes observations in float64, and answers them as values."""

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        values = observation.to(torch.float32)
        return values.argmax(dim=1), values


@pytest.mark.parametrize("n", [*BATCHES, 80])
def test_the_graph_answers_as_the_network_does_at_every_batch_size(n: int) -> None:
    version = export_cartpole()
    answers = OnnxPolicy(version.model.SerializeToString()).run(version.golden["observation"][:n])
    assert (answers["action"] == version.golden["action"][:n]).all()
    assert answers["values"] == pytest.approx(version.golden["values"][:n], abs=1e-5)


def test_the_graph_is_one_file_with_dynamic_batch_and_its_spec_inside() -> None:
    version = export_cartpole()
    onnx.checker.check_model(version.model)
    graph = version.model.graph
    assert [node.name for node in graph.input] == ["observation"]
    assert [node.name for node in graph.output] == ["action", "values"]
    assert all(node.type.tensor_type.shape.dim[0].dim_param for node in (*graph.input, *graph.output))
    assert not any(onnx.external_data_helper.uses_external_data(tensor) for tensor in graph.initializer)
    assert OnnxPolicy(version.model.SerializeToString()).spec == version.spec


def test_an_export_prints_nothing_and_throws_away_nothing_that_another_thread_prints(
    capsys: pytest.CaptureFixture[str],
) -> None:
    printed: list[str] = []

    def speak() -> None:
        printed.append("of another thread\n")
        sys.stdout.write(printed[-1])

    class Watched(nn.Linear):
        def forward(self, observation: Tensor) -> Tensor:
            other = threading.Thread(target=speak)
            other.start()
            other.join()
            return super().forward(observation)

    export_graph(Watched(2, 3), np.ones((2, 2), np.float32))
    assert len(printed) > 1  # once for the answers, and again within the export
    assert capsys.readouterr() == ("".join(printed), "")


def test_the_graph_keeps_no_trace_of_the_machine_that_exported_it() -> None:
    model = export_cartpole().model.SerializeToString()
    assert b".py" not in model
    assert str(ROOT).encode() not in model


def test_the_spec_says_what_goes_in_and_out_and_where_it_came_from() -> None:
    spec = export_cartpole().spec
    assert spec.schema_version == 1
    assert (spec.observation.dtype, list(spec.observation.shape)) == (pb.FLOAT32, [4])
    assert [component.unit for component in spec.observation.components] == ["m", "m/s", "rad", "rad/s"]
    assert list(spec.action.discrete.labels) == ["push left", "push right"]
    assert spec.evaluation.mean == 100.0
    assert spec.parity.observations == 80
    assert spec.parity.largest_value_difference < 1e-5


@pytest.mark.parametrize("name", ["action", "values"])
def test_a_graph_that_answers_otherwise_is_refused(name: str) -> None:
    version = export_cartpole()
    golden = {**version.golden, name: version.golden[name][::-1].copy()}
    with pytest.raises(ExportRefused, match=f"{name} at batches of 1"):
        measure_parity(version.model.SerializeToString(), golden)


def test_a_tie_excuses_only_the_tied_actions() -> None:
    version = export_cartpole()
    n, tied = len(version.golden["observation"]), np.array([1, 1, -5], np.float32)
    golden = {
        "observation": version.golden["observation"],
        "action": np.zeros(n, np.int64),
        "values": np.tile(tied, (n, 1)),
    }

    def answering(action: int) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
        return lambda batch: {
            "action": np.full(len(batch), action),
            "values": np.tile(tied, (len(batch), 1)),
        }

    assert check_golden(answering(0), golden) == check_golden(answering(1), golden) == 0
    for other in (2, 3, -1):
        with pytest.raises(GoldenMismatch, match=f"expected 0, got {other}"):
            check_golden(answering(other), golden)


def test_a_network_that_answers_nan_is_refused() -> None:
    class Broken(nn.Module):
        def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
            values = observation[:, :2] / (observation[:, :2] - observation[:, :2])
            return values.argmax(dim=1), values

    with pytest.raises(ExportRefused, match="values at batches of 1: differ by nan"):
        export_policy(Broken(), export_cartpole().spec, np.zeros((MIN_GOLDEN, 4), np.float32))


def test_a_golden_set_that_is_too_small_is_refused() -> None:
    with pytest.raises(ExportRefused, match="expected at least 64 golden observations"):
        export_policy(FromDouble(), pb.PolicySpec(), np.random.default_rng(0).normal(size=(3, 4)))


def test_observations_of_another_dtype_are_taken_as_they_are() -> None:
    version = export_policy(FromDouble(), pb.PolicySpec(), np.random.default_rng(0).normal(size=(64, 3)))
    assert OnnxPolicy(version.model.SerializeToString()).act(np.array([[0.0, 2.0, 1.0]])).tolist() == [1]
