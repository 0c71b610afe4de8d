"""ModelInfer and ModelStreamInfer over the wire, by whatever carries them: what is answered, and what is refused."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from polserve.protos.polserve.oip.v2 import inference_pb2 as pb
from polserve.serving.client import PolicyClient
from tests.support.oip import output_arrays
from tests.support.running import Running, service, wait_until
from tests.support.versions import make_version

SERVICE = "/inference.GRPCInferenceService/"
OBSERVATIONS = make_version().golden["observation"][:3]
Tensor = pb.ModelInferRequest.InferInputTensor


@pytest.fixture(scope="module")
def channel(running: Running) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(running.target) as channel:
        yield channel


def typed(array: NDArray[Any] = OBSERVATIONS, **fields: Any) -> pb.ModelInferRequest:
    """A request whose observation is in typed contents."""
    contents = pb.InferTensorContents(fp32_contents=array.ravel().tolist())
    tensor = Tensor(name="observation", datatype="FP32", shape=array.shape, contents=contents)
    return pb.ModelInferRequest(model_name="cartpole", inputs=[tensor], **fields)


def raw(array: NDArray[Any] = OBSERVATIONS, **fields: Any) -> pb.ModelInferRequest:
    """A request whose observation is in raw contents."""
    tensor = Tensor(name="observation", datatype="FP32", shape=array.shape)
    fields = {"raw_input_contents": [array.tobytes()], **fields}
    return pb.ModelInferRequest(model_name="cartpole", inputs=[tensor], **fields)


def infer(channel: grpc.Channel, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
    call: Any = channel.unary_unary(f"{SERVICE}ModelInfer")
    return pb.ModelInferResponse.FromString(call(request.SerializeToString(), timeout=20))


def stream(channel: grpc.Channel, *requests: pb.ModelInferRequest) -> list[pb.ModelStreamInferResponse]:
    call: Any = channel.stream_stream(f"{SERVICE}ModelStreamInfer")
    answers = call(iter([request.SerializeToString() for request in requests]), timeout=20)
    return [pb.ModelStreamInferResponse.FromString(answer) for answer in answers]


def sequence(array: NDArray[Any], **parameters: Any) -> pb.ModelInferRequest:
    request = raw(array)
    for name, value in parameters.items():
        parameter = request.parameters[name]
        match value:
            case bool():
                parameter.bool_param = value
            case int():
                parameter.int64_param = value
            case float():
                parameter.double_param = value
            case _:
                parameter.string_param = value
    return request


def test_typed_and_raw_contents_get_the_actions_that_act_gives(channel: grpc.Channel, client: PolicyClient) -> None:
    acted = client.act("cartpole", OBSERVATIONS, with_values=True)
    for request in (typed(id="a"), raw(id="b")):
        response = infer(channel, request)
        arrays = output_arrays(response)
        assert (response.model_name, response.model_version, response.id) == ("cartpole", "1", request.id)
        np.testing.assert_array_equal(arrays["action"], acted.action)
        np.testing.assert_array_equal(arrays["values"], acted.values)
        assert not any(output.HasField("contents") for output in response.outputs)


def test_one_observation_without_a_batch_is_answered_without_one(channel: grpc.Channel) -> None:
    alone = output_arrays(infer(channel, raw(OBSERVATIONS[0])))
    together = output_arrays(infer(channel, raw(OBSERVATIONS[:1])))
    assert (alone["action"].shape, alone["values"].shape) == ((), (2,))
    assert (together["action"].shape, together["values"].shape) == ((1,), (1, 2))
    assert alone["action"] == together["action"][0]


Wanted = pb.ModelInferRequest.InferRequestedOutputTensor
SHARED = {"shared_memory_region": pb.InferParameter(string_param="there")}


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        (
            typed(raw_input_contents=[b""]),
            "INVALID_ARGUMENT",
            "contents field must not be specified when using raw_input",
        ),
        (raw(raw_input_contents=[b"", b""]), "INVALID_ARGUMENT", "raw_input_contents: expected 1, one for each input"),
        (raw(raw_input_contents=[b"abc"]), "INVALID_ARGUMENT", r"expected 48 bytes for FP32 \[3, 4\], got 3 bytes"),
        (raw(raw_input_contents=[]), "INVALID_ARGUMENT", r"12 values for the shape \[3, 4\], got 0 in fp32_contents"),
        (raw(OBSERVATIONS[:0]), "INVALID_ARGUMENT", "at least one observation"),
        (raw(OBSERVATIONS[:, :3].copy()), "INVALID_ARGUMENT", r"expected \(4,\) or \(N, 4\), got \(3, 3\)"),
        (raw(OBSERVATIONS * np.float32(np.inf)), "INVALID_ARGUMENT", "finite numbers"),
        (raw(outputs=[Wanted(name="logits")]), "INVALID_ARGUMENT", "some of action, values, explored, got 'logits'"),
        (raw(outputs=[Wanted(name="action")] * 2), "INVALID_ARGUMENT", "each output once"),
        (raw(outputs=[Wanted(name="action", parameters=SHARED)]), "INVALID_ARGUMENT", "shared memory is not offered"),
        (pb.ModelInferRequest(inputs=[Tensor()] * 9999), "INVALID_ARGUMENT", "inputs: expected at most 256, got 9999"),
        (raw(outputs=[Wanted(name="action")] * 9999), "INVALID_ARGUMENT", "outputs: expected at most 256, got 9999"),
        (sequence(OBSERVATIONS, **{str(i): i for i in range(999)}), "INVALID_ARGUMENT", "at most 256, got 999"),
        (pb.ModelInferRequest(model_name="cartpole"), "INVALID_ARGUMENT", "expected an input 'observation', got none"),
        (pb.ModelInferRequest(), "NOT_FOUND", "Request for unknown model: '' is not found; live are cartpole, frames"),
        (raw(model_version="9"), "NOT_FOUND", "'cartpole' version '9' is not at ready state"),
        (raw(model_version="@gone"), "NOT_FOUND", "the aliases @champion"),
        (sequence(OBSERVATIONS, epsilon=2.0), "INVALID_ARGUMENT", "epsilon: expected a probability"),
        (
            sequence(OBSERVATIONS, epsilon="much"),
            "INVALID_ARGUMENT",
            "parameters.epsilon: expected a finite number, got 'much'",
        ),
        (sequence(OBSERVATIONS, sequence_id=1.5), "INVALID_ARGUMENT", "a whole number or a text, got 1.5"),
        (sequence(OBSERVATIONS, sequence_id="x" * 129), "INVALID_ARGUMENT", "at most 128 characters, got 129"),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused_and_says_why(
    channel: grpc.Channel, request_: pb.ModelInferRequest, code: str, message: str
) -> None:
    with pytest.raises(grpc.RpcError, match=message) as refusal:
        infer(channel, request_)
    assert refusal.value.code().name == code
    answered, after = stream(channel, request_, raw())
    assert answered.error_message == refusal.value.details()
    assert len(after.infer_response.raw_output_contents) == 2


def test_a_version_is_told_by_its_number_whatever_names_it(channel: grpc.Channel) -> None:
    versions = [infer(channel, raw(model_version=version)).model_version for version in ("", "1", "@champion")]
    assert versions == ["1", "1", "1"]


def test_a_large_batch_is_answered_as_a_small_one_is(channel: grpc.Channel) -> None:
    many = np.tile(OBSERVATIONS, (30_000, 1))  # more than a megabyte, which is decoded aside
    few, large = (output_arrays(infer(channel, raw(array)))["action"] for array in (OBSERVATIONS, many))
    np.testing.assert_array_equal(large, np.tile(few, 30_000))
    (answer,) = stream(channel, raw(many))
    np.testing.assert_array_equal(output_arrays(answer.infer_response)["action"], large)


def test_bytes_that_are_no_message_are_refused(channel: grpc.Channel) -> None:
    call: Any = channel.unary_unary(f"{SERVICE}ModelInfer")
    with pytest.raises(grpc.RpcError, match="expected a serialised ModelInferRequest"):
        call(b"\xff" * 9, timeout=20)


def test_a_sequence_keeps_its_frames_and_counts_its_return(channel: grpc.Channel, running: Running) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 1, 36, 36), np.uint8)
    requests = []
    for i, frame in enumerate(frames):
        request = sequence(frame, sequence_id="one", sequence_start=i == 0, sequence_end=i == 4)
        request.model_name, request.inputs[0].datatype = "frames", "UINT8"
        if i:
            request.parameters["reward"].double_param = 0.5
        requests.append(request)
    answers = [answer.infer_response for answer in stream(channel, *requests)]
    with PolicyClient(running.target) as client, client.episode("frames", with_values=True) as episode:
        for frame, answer in zip(frames, answers, strict=True):
            np.testing.assert_array_equal(output_arrays(answer)["values"][0], episode.act(frame[0]).values)
    assert answers[-1].parameters["episode_return"].double_param == 2.0
    assert 'polserve_episode_return_count{policy="frames",version="1"}' in running.metrics()


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        (
            [sequence(OBSERVATIONS[:1], sequence_id=4)],
            "a sequence of .cartpole. that was begun on this stream with sequence_start, and has not ended, got 4",
        ),
        ([sequence(OBSERVATIONS[:1], sequence_start=True)], "an id of a sequence, .* with sequence_start, got None"),
        ([sequence(OBSERVATIONS[:1], sequence_id=0, sequence_end=True)], "with sequence_end, got 0"),
        ([sequence(OBSERVATIONS[:1], reward=1.0)], "with reward"),
        ([sequence(OBSERVATIONS, sequence_id=1, sequence_start=True)], "one observation .4,., got 3 of them"),
        ([sequence(OBSERVATIONS[:1], sequence_id=1, sequence_start=True, reward=1.0)], "none before the first action"),
        ([sequence(OBSERVATIONS[:1], sequence_id=1, sequence_start="yes")], "sequence_start: expected true or false"),
    ],
)
def test_a_sequence_that_cannot_be_is_refused_and_the_stream_goes_on(
    channel: grpc.Channel, requests: list[pb.ModelInferRequest], message: str
) -> None:
    *_, refused, after = stream(channel, *requests, raw())
    assert re.search(message, refused.error_message), refused.error_message
    assert not after.error_message


def test_unary_calls_of_a_sequence_are_those_of_its_stream(channel: grpc.Channel) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (4, 1, 36, 36), np.uint8)
    requests = []
    for i, frame in enumerate(frames):
        request = sequence(frame, sequence_id=77, sequence_start=i == 0, sequence_end=i == 3)
        request.model_name, request.inputs[0].datatype = "frames", "UINT8"
        if i:
            request.parameters["reward"].double_param = 1.0
        requests.append(request)
    streamed = [answer.infer_response for answer in stream(channel, *requests)]
    assert [infer(channel, request) for request in requests] == streamed
    with pytest.raises(grpc.RpcError, match="'frames' that was begun in this process with sequence_start"):
        infer(channel, requests[1])


def test_a_sequence_ends_without_an_observation_and_not_twice(channel: grpc.Channel) -> None:
    end = sequence(OBSERVATIONS[:1], sequence_id=9, sequence_end=True, reward=3.0)
    del end.inputs[:], end.raw_input_contents[:]
    begun, ended, gone = stream(channel, sequence(OBSERVATIONS[:1], sequence_id=9, sequence_start=True), end, end)
    assert begun.infer_response.outputs
    assert ended.infer_response.parameters["episode_return"].double_param == 3.0
    assert not ended.infer_response.outputs
    assert "has not ended" in gone.error_message


def test_a_sequence_that_is_left_alone_ends_and_its_client_is_told(policies: Path, tmp_path: Path) -> None:
    with (
        service("--policies", str(policies), "--episode-idle", "0.5", folder=tmp_path) as short,
        grpc.insecure_channel(short.target) as channel,
    ):
        wait_until(short.is_up, short.log)
        infer(channel, sequence(OBSERVATIONS[:1], sequence_id=1, sequence_start=True))
        wait_until(lambda: "\npolserve_episodes_active 0" in short.metrics(), short.log)
        with pytest.raises(grpc.RpcError, match=r"got 1, which has ended: no message came for 0\.5 s"):
            infer(channel, sequence(OBSERVATIONS[:1], sequence_id=1))


def test_another_model_or_version_in_mid_sequence_is_refused(channel: grpc.Channel) -> None:
    start = sequence(OBSERVATIONS[:1], sequence_id=2, sequence_start=True)
    model, version, fits = (sequence(OBSERVATIONS[:1], sequence_id=2) for _ in range(3))
    model.model_name, version.model_version, fits.model_version = "frames", "2", "1"
    answers = stream(channel, start, model, version, fits)
    assert "expected a sequence of 'frames' that was begun on this stream" in answers[1].error_message
    assert "expected none, or 1, with which sequence 2 began, got '2'" in answers[2].error_message
    assert not answers[3].error_message


def test_a_stream_of_sequences_that_were_never_ended_leaves_nothing_open(
    channel: grpc.Channel, running: Running
) -> None:
    begun = [sequence(OBSERVATIONS[:1], sequence_id=i, sequence_start=True) for i in range(1, 9)]
    assert not any(answer.error_message for answer in stream(channel, *begun))
    wait_until(lambda: "\npolserve_episodes_active 0" in running.metrics())


def test_methods_that_are_not_offered_say_why(channel: grpc.Channel) -> None:
    for method, reason in (
        ("RepositoryModelLoad", "the registry is the switch"),
        ("RepositoryModelUnload", "the registry is the switch"),
        ("SystemSharedMemoryRegister", "send tensors in the message"),
        ("CudaSharedMemoryStatus", "send tensors in the message"),
        ("TraceSetting", "traces are not kept"),
    ):
        call: Any = channel.unary_unary(SERVICE + method)
        with pytest.raises(grpc.RpcError, match=reason) as refusal:
            call(b"", timeout=20)
        assert refusal.value.code() == grpc.StatusCode.UNIMPLEMENTED
