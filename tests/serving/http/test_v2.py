"""The Open Inference Protocol over HTTP: JSON and binary tensors become the messages that gRPC carries."""

import gzip
import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from polserve.serving.http.strict_json import MAX_JSON_BYTES
from tests.support.http_calls import Answered, ask
from tests.support.running import Running
from tests.support.versions import make_frames_version, make_version

GOLDEN = make_version().golden
ROWS = GOLDEN["observation"][:3]
INFER = "/v2/models/cartpole/infer"
ACTIONS = GOLDEN["action"][:3].tolist()


def tensor(array: Any = ROWS, **changes: Any) -> dict[str, Any]:
    """An input whose numbers are in JSON."""
    data = array.reshape(-1).tolist()
    return {"name": "observation", "datatype": "FP32", "shape": list(array.shape), "data": data, **changes}


def infer(running: Running, said: Mapping[str, Any], path: str = INFER) -> Answered:
    """Post a request in JSON."""
    return ask(running, path, json.dumps(said).encode())


def binary(said: Any, *tensors: bytes, length: str | None = None) -> tuple[bytes, dict[str, str]]:
    """A body with binary tensors, and the header that says where its JSON ends."""
    text = json.dumps(said).encode()
    return b"".join((text, *tensors)), {"Inference_Header_Content_Length": length or str(len(text))}


def binary_tensor(size: object = ROWS.nbytes, **changes: Any) -> dict[str, Any]:
    """An input whose numbers follow the JSON."""
    parameters = {"binary_data_size": size}
    return {"name": "observation", "datatype": "FP32", "shape": [3, 4], "parameters": parameters, **changes}


def test_numbers_in_json_are_answered_in_json(over_http: Running) -> None:
    answer = infer(over_http, {"id": "seven", "inputs": [tensor()], "outputs": [{"name": "action"}]})
    assert answer.headers["content-type"] == "application/json"
    assert answer.said == {
        "model_name": "cartpole",
        "model_version": "1",
        "id": "seven",
        "outputs": [{"name": "action", "datatype": "INT64", "shape": [3], "data": ACTIONS}],
    }


def test_numbers_may_be_nested(over_http: Running) -> None:
    answer = infer(over_http, {"inputs": [tensor(data=ROWS.tolist())]})
    assert answer.said["outputs"][0]["data"] == ACTIONS


@pytest.mark.parametrize("path", [f"/v2/models/cartpole/versions/{version}/infer" for version in ("1", "@champion")])
def test_the_path_names_the_version(over_http: Running, path: str) -> None:
    assert infer(over_http, {"inputs": [tensor()]}, path).said["model_version"] == "1"


def test_binary_tensors_follow_the_json_both_ways(over_http: Running) -> None:
    said = {"inputs": [binary_tensor()], "parameters": {"binary_data_output": True}}
    body, headers = binary(said, ROWS.tobytes())
    answer = ask(over_http, INFER, body, **headers)
    assert answer.headers["content-type"] == "application/octet-stream"
    n_json = int(answer.headers["inference-header-content-length"])
    action, values = json.loads(answer.body[:n_json])["outputs"]
    rest = answer.body[n_json:]
    size = action["parameters"]["binary_data_size"]
    assert np.frombuffer(rest[:size], np.int64).tolist() == ACTIONS
    assert np.frombuffer(rest[size:], np.float32).reshape(values["shape"]).argmax(1).tolist() == ACTIONS


def test_each_output_says_in_which_form_it_is_wanted(over_http: Running) -> None:
    outputs = [{"name": "values", "parameters": {"binary_data": True}}, {"name": "action"}]
    answer = infer(over_http, {"inputs": [tensor()], "outputs": outputs})
    values, action = json.loads(answer.body[: int(answer.headers["inference-header-content-length"])])["outputs"]
    assert values["parameters"] == {"binary_data_size": 3 * 2 * 4}
    assert action["data"] == ACTIONS


def test_a_large_binary_body_is_answered(over_http: Running) -> None:
    frames = make_frames_version().golden
    batch = np.concatenate([frames["observation"]] * 40)
    said = {**binary_tensor(batch.nbytes), "datatype": "UINT8", "shape": list(batch.shape)}
    body, headers = binary({"inputs": [said], "outputs": [{"name": "action"}]}, batch.tobytes())
    assert len(body) > MAX_JSON_BYTES
    answer = ask(over_http, "/v2/models/frames/infer", body, **headers)
    assert answer.said["outputs"][0]["data"] == frames["action"].tolist() * 40


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_body_is_read(over_http: Running, encoding: str) -> None:
    compress = gzip.compress if encoding == "gzip" else zlib.compress
    body = compress(json.dumps({"inputs": [tensor()]}).encode())
    answer = ask(over_http, INFER, body, Content_Encoding=encoding)
    assert answer.said["outputs"][0]["data"] == ACTIONS


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (gzip.compress(b" " * (MAX_JSON_BYTES + 1)), "gzip", 413),
        (b"no gzip", "gzip", 400),
        (gzip.compress(b"{}")[:-4], "gzip", 400),
        (b"{}", "br", 415),
    ],
    ids=["bomb", "none", "cut", "unknown"],
)
def test_a_body_that_cannot_be_decompressed_is_refused(
    over_http: Running, body: bytes, encoding: str, status: int
) -> None:
    assert ask(over_http, INFER, body, Content_Encoding=encoding).status == status


def test_the_service_and_its_models_are_described(over_http: Running) -> None:
    assert ask(over_http, "/v2/health/live").said == {"live": True}
    assert ask(over_http, "/v2/health/ready").said == {"ready": True}
    assert ask(over_http, "/v2").said["name"] == "polserve"
    metadata = ask(over_http, "/v2/models/cartpole").said
    assert metadata["inputs"] == [{"name": "observation", "datatype": "FP32", "shape": [-1, 4]}]
    assert ask(over_http, "/v2/models/cartpole/versions/1").said == metadata
    config = ask(over_http, "/v2/models/cartpole/config").said
    assert (config["name"], config["input"][0]["dims"]) == ("cartpole", [4])
    assert {"name": "frames", "version": "1", "state": "READY", "reason": ""} in ask(
        over_http, "/v2/repository/index", b""
    ).said


def test_statistics_count_what_was_inferred(over_http: Running) -> None:
    def n_observations() -> int:
        (stats,) = ask(over_http, "/v2/models/frames/stats").said["model_stats"]
        return int(stats["inference_count"])

    frames = make_frames_version().golden["observation"][:2]
    before = n_observations()
    for _ in range(4):  # each worker counts for itself, and calls go to them in turn
        infer(over_http, {"inputs": [tensor(frames, datatype="UINT8")]}, "/v2/models/frames/infer")
    assert n_observations() > before


def test_readiness_of_a_model_is_told_by_the_status_too(over_http: Running) -> None:
    assert ask(over_http, "/v2/models/cartpole/ready").status == 200
    assert ask(over_http, "/v2/models/cartpole/versions/1/ready").status == 200
    for path in ("/v2/models/go/ready", "/v2/models/cartpole/versions/9/ready"):
        answer = ask(over_http, path)
        assert (answer.status, answer.said["ready"]) == (404, False)


@pytest.mark.parametrize(
    "path", ["/v2/repository/models/cartpole/load", "/v2/repository/models/cartpole/unload", "/v2/logging"]
)
def test_what_is_not_offered_says_why(over_http: Running, path: str) -> None:
    answer = ask(over_http, path, b"{}")
    assert (answer.status, answer.said["code"]) == (501, "UNIMPLEMENTED")
    assert "; " in answer.said["error"]


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ([1], "body: expected a JSON object, got a list of 1"),
        ({}, "inputs: expected a list, got null"),
        ({"inputs": []}, "inputs: expected an input 'observation', got none"),
        ({"inputs": [tensor()], "input": []}, "body: expected the fields id, parameters, inputs, "),
        ({"inputs": [3]}, "inputs[0]: expected an object, got 3"),
        ({"inputs": [tensor(name=3)]}, "inputs[0].name: expected a text, got 3"),
        ({"inputs": [tensor(name="\ud800")]}, "inputs[0].name: expected a text that UTF-8 can write"),
        ({"inputs": [tensor(name="INPUT0")]}, "inputs: expected observation, and each once, got 'INPUT0'"),
        ({"inputs": [tensor(), tensor()]}, "inputs: expected observation, and each once, got 'observation' twice"),
        ({"inputs": [tensor(datatype="FP16")]}, "inputs['observation'].datatype: expected one of "),
        ({"inputs": [tensor(datatype="BYTES")]}, "inputs['observation'].datatype: expected one of "),
        ({"inputs": [tensor(datatype="float32")]}, "inputs['observation'].datatype: expected one of "),
        ({"inputs": [tensor(shape=[4, 4])]}, "inputs[0].data: expected 16 values for the shape [4, 4], got 12"),
        ({"inputs": [tensor(shape=[3, -4])]}, "inputs[0].shape: expected whole numbers of at least 0, got -4"),
        ({"inputs": [tensor(shape=[3.0, 4])]}, "inputs[0].shape: expected whole numbers of at least 0, got 3.0"),
        ({"inputs": [tensor(shape=[2**64])]}, "inputs[0].shape: expected whole numbers of at least 0, got 1844674407"),
        ({"inputs": [tensor(shape=[2**62, 2**62])]}, "inputs[0].data: expected 2126764793"),
        ({"inputs": [tensor(shape=[1] * 40)]}, "inputs['observation'].shape: expected at most 32 axes, got 40"),
        ({"inputs": [tensor(shape=[0, 4], data=[])]}, "observation.shape: expected at least one observation, got"),
        ({"inputs": [tensor(data=None)]}, "inputs[0].data: expected numbers, or parameters.binary_data_size with"),
        ({"inputs": [tensor(data="12")]}, 'inputs[0].data: expected numbers, in lists of equal lengths, got "12"'),
        ({"inputs": [tensor(datatype="UINT8")]}, "inputs[0].data: expected whole numbers from 0 to 255, got "),
        ({"inputs": [tensor(parameters={"binary_data_size": 8})]}, "inputs[0].parameters.binary_data_size: expected a"),
        ({"inputs": [tensor(parameters=[1])]}, "inputs[0].parameters: expected an object, got a list of 1"),
        ({"inputs": [tensor(parameters={"shared_memory_region": "a"})]}, "inputs['observation'].parameters.shared"),
        ({"inputs": [tensor()], "outputs": [{"name": "logits"}]}, "outputs: expected some of action, values, explored"),
        ({"inputs": [tensor()], "outputs": [{"name": "action"}] * 2}, "outputs: expected each output once"),
        ({"inputs": [tensor()], "outputs": "action"}, 'outputs: expected a list, got "action"'),
        ({"inputs": [tensor()], "parameters": {"epsilon": [1]}}, "parameters.epsilon: expected a number, a text, true"),
        ({"inputs": [tensor()], "parameters": {"epsilon": 3}}, "epsilon: expected a probability from 0 to 1, got 3"),
        ({"inputs": [tensor()], "parameters": {"a": "\ud800"}}, "parameters.a: expected a text that UTF-8 can write"),
        ({"inputs": [tensor()], "parameters": {"\ud800": 1}}, "parameters: expected a text that UTF-8 can write"),
        ({"inputs": [tensor()], "parameters": {"sequence_id": 3}}, "parameters.sequence_id: expected a sequence"),
        ({"inputs": [tensor()], "parameters": {"binary_data_output": 1}}, "parameters.binary_data_output: expected"),
        ({"inputs": [tensor()], "id": 7}, "id: expected a text, got 7"),
    ],
)  # fmt: skip
def test_a_bad_request_is_refused_with_what_is_wrong(over_http: Running, said: Any, error: str) -> None:
    answer = infer(over_http, said)
    assert answer.said["error"].startswith(error)
    assert (answer.status, answer.said["code"]) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("size", "length", "error"),
    [
        (ROWS.nbytes - 4, None, "body: expected 44 bytes after the JSON, as the inputs say, got 48"),
        (ROWS.nbytes + 4, None, "inputs[0].parameters.binary_data_size: expected a whole number from 0 to 48, "),
        (-1, None, "inputs[0].parameters.binary_data_size: expected a whole number from 0 to 48, "),
        ("48", None, "inputs[0].parameters.binary_data_size: expected a whole number from 0 to 48, "),
        (True, None, "inputs[0].parameters.binary_data_size: expected a whole number from 0 to 48, "),
        (ROWS.nbytes, "0", "body: expected JSON, got "),
        (ROWS.nbytes, "10", "body: expected JSON, got "),
        (ROWS.nbytes, "-1", "inference-header-content-length: expected a whole number from 0 to "),
        (ROWS.nbytes, "1e2", "inference-header-content-length: expected a whole number from 0 to "),
        (ROWS.nbytes, "999999", "inference-header-content-length: expected a whole number from 0 to "),
        (ROWS.nbytes, "9" * 5000, "inference-header-content-length: expected a whole number from 0 to "),
    ],
)
def test_binary_headers_that_disagree_with_the_body_are_refused(
    over_http: Running, size: object, length: str | None, error: str
) -> None:
    body, headers = binary({"inputs": [binary_tensor(size)]}, ROWS.tobytes(), length=length)
    answer = ask(over_http, INFER, body, **headers)
    assert answer.said["error"].startswith(error)
    assert answer.status == 400


def test_a_binary_tensor_of_another_size_than_its_shape_is_refused(over_http: Running) -> None:
    body, headers = binary({"inputs": [binary_tensor(shape=[3, 5])]}, ROWS.tobytes())
    answer = ask(over_http, INFER, body, **headers)
    assert answer.said["error"].startswith("raw_input_contents of 'observation': expected 60 bytes for FP32 [3, 5]")


def test_numbers_that_are_both_in_the_json_and_behind_it_are_refused(over_http: Running) -> None:
    body, headers = binary({"inputs": [binary_tensor(data=[1.0])]}, ROWS.tobytes())
    answer = ask(over_http, INFER, body, **headers)
    assert answer.said["error"] == "inputs[0]: expected one of the two: data, or parameters.binary_data_size, got both"


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/v2/models/go/infer", "model_name: Request for unknown model: 'go' is not found"),
        ("/v2/models/cartpole/versions/9/infer", "model_version: Request for unknown model: 'cartpole' version '9'"),
    ],
)
def test_an_unknown_model_is_not_found(over_http: Running, path: str, error: str) -> None:
    answer = infer(over_http, {"inputs": [tensor()]}, path)
    assert (answer.status, answer.said["code"]) == (404, "NOT_FOUND")
    assert answer.said["error"].startswith(error)
