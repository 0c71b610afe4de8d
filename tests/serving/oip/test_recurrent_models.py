"""A recurrent policy over the Open Inference Protocol: its states are inputs and outputs, or kept by a sequence."""

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from polserve.protos.polserve.oip.v2 import inference_pb2 as pb
from polserve.serving.handlers.oip.plain import as_plain
from tests.support.oip import output_arrays
from tests.support.running import service, wait_until
from tests.support.spaces import make_memory_version, played

VERSION = make_memory_version()
STEPS = np.random.default_rng(5).normal(size=(20, 3, 2)).astype(np.float32)
"""Observations of 20 steps, for 3 episodes."""
NAMES = [state.name for state in VERSION.spec.states]
SERVICE = "/inference.GRPCInferenceService/"


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    folder = tmp_path_factory.mktemp("recurrent")
    VERSION.write(folder / "memory" / "1")
    with service("--policies", str(folder), folder=folder) as running, grpc.insecure_channel(running.target) as channel:
        wait_until(running.is_up, running.log)
        yield channel


def call(channel: grpc.Channel, method: str, request: Any, answer: Any) -> Any:
    ask: Any = channel.unary_unary(SERVICE + method)
    return answer.FromString(ask(request.SerializeToString(), timeout=20))


def request_of(**arrays: NDArray[Any]) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="memory")
    for name, array in arrays.items():
        request.inputs.add(name=name, datatype="FP32", shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
    return request


def infer(channel: grpc.Channel, **arrays: NDArray[Any]) -> dict[str, NDArray[Any]]:
    response: pb.ModelInferResponse = call(channel, "ModelInfer", request_of(**arrays), pb.ModelInferResponse)
    return output_arrays(response)


def test_its_states_are_optional_inputs_and_outputs(channel: grpc.Channel) -> None:
    metadata = call(channel, "ModelMetadata", pb.ModelMetadataRequest(name="memory"), pb.ModelMetadataResponse)
    assert [one.name for one in metadata.inputs] == ["observation", *NAMES]
    assert [one.name for one in metadata.outputs][-len(NAMES) :] == [f"next_{name}" for name in NAMES]
    response = call(channel, "ModelConfig", pb.ModelConfigRequest(name="memory"), pb.ModelConfigResponse)
    config = as_plain(response.config)
    assert [one["optional"] for one in config["input"]] == [False, *(True for _ in NAMES)]
    assert [one["input_name"] for one in config["sequence_batching"]["state"]] == NAMES


def test_a_client_carries_the_states_of_a_batch(channel: grpc.Channel) -> None:
    states: dict[str, NDArray[Any]] = {}
    expected = [played(VERSION, STEPS[:, i]) for i in range(3)]
    for step, rows in enumerate(STEPS):
        outputs = infer(channel, observation=rows, **states)
        states = {name: outputs[f"next_{name}"] for name in NAMES}
        assert outputs["action"].tolist() == [actions[step] for actions in expected]


def test_a_sequence_keeps_the_states(channel: grpc.Channel) -> None:
    requests = []
    for i, row in enumerate(STEPS[:, 0]):
        request = request_of(observation=row[np.newaxis])
        request.parameters["sequence_id"].int64_param = 1
        request.parameters["sequence_start"].bool_param = i == 0
        requests.append(request.SerializeToString())
    ask: Any = channel.stream_stream(f"{SERVICE}ModelStreamInfer")
    answers = [pb.ModelStreamInferResponse.FromString(answer) for answer in ask(iter(requests), timeout=20)]
    actions = [int(output_arrays(answer.infer_response)["action"][0]) for answer in answers]
    assert actions == played(VERSION, STEPS[:, 0])


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ({NAMES[0]: lambda state: state[:1]}, "shape: expected .3, .*, got .1, "),
        ({NAMES[0]: lambda state: state * np.float32(np.nan)}, "expected finite numbers"),
        ({"hidden": lambda state: state}, "inputs: expected observation, .*, and each once, got 'hidden'"),
    ],
)
def test_states_that_are_none_of_its_own_are_refused(channel: grpc.Channel, states: Any, message: str) -> None:
    outputs = infer(channel, observation=STEPS[0])
    given = {name: outputs[f"next_{name}"] for name in NAMES}
    given |= {name: change(outputs[f"next_{NAMES[0]}"]) for name, change in states.items()}
    with pytest.raises(grpc.RpcError, match=message):
        infer(channel, observation=STEPS[0], **given)
