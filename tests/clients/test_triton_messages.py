"""Our messages of the Open Inference Protocol are those of Triton's client, and can be imported beside them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pool import DescriptorPool

from polserve.protos.polserve.oip.v2 import inference_pb2, model_config_pb2
from polserve.serving.handlers.oip.names import public_files
from tests.support.compatibility import SCRIPTS


def test_every_field_and_method_of_ours_is_tritons_under_the_same_number(triton_python: str, tmp_path: Path) -> None:
    command = [triton_python, str(SCRIPTS / "triton_messages.py")]
    theirs = json.loads(subprocess.run(command, capture_output=True, check=True, text=True, cwd=tmp_path).stdout)
    ours: dict[str, dict[str, list[Any]]] = {}
    for file in (model_config_pb2.DESCRIPTOR, inference_pb2.DESCRIPTOR):
        for message in file.message_types_by_name.values():
            ours.update(describe(message))
    for name, fields in ours.items():
        public = name.replace("polserve.oip.v2.", "inference.")
        for field, is_so in fields.items():
            assert theirs["messages"][public][field] == is_so, f"{public}.{field}"
    service = inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert {method.name for method in service.methods} == set(theirs["methods"])
    assert dict(model_config_pb2.DataType.items()) == theirs["enum"]


def describe(message: Any) -> dict[str, dict[str, list[Any]]]:
    types = (
        {number: name for name, number in vars(type(message.fields[0])).items() if name.startswith("TYPE_")}
        if (message.fields)
        else {}
    )
    found = {message.full_name: {one.name: [one.number, types[one.type], one.is_repeated] for one in message.fields}}
    for nested in message.nested_types:
        found.update(describe(nested))
    return found


def test_their_names_on_the_wire_are_those_of_package_inference() -> None:
    pool = DescriptorPool()
    for file in public_files():
        pool.Add(file)
    service = pool.FindServiceByName("inference.GRPCInferenceService")
    infer = service.methods_by_name["ModelInfer"]
    inputs = infer.input_type.fields_by_name["inputs"].message_type
    assert infer.input_type.full_name == "inference.ModelInferRequest"
    assert inputs is not None
    assert inputs.full_name == "inference.ModelInferRequest.InferInputTensor"


def test_our_client_and_tritons_work_in_one_process(triton_python: str, tmp_path: Path) -> None:
    (theirs,) = Path(triton_python).parents[1].glob("lib/python*/site-packages/tritonclient")
    (tmp_path / "tritonclient").symlink_to(theirs)  # that package alone: its protobuf is older than ours
    (rapidjson,) = theirs.parent.glob("rapidjson*.so")
    (tmp_path / rapidjson.name).symlink_to(rapidjson)
    code = (
        "import tritonclient.grpc, polserve.serving.client, polserve.protos.polserve.oip.v2.inference_pb2 as ours;"
        "from tritonclient.grpc import service_pb2 as theirs;"
        "print(theirs.ModelInferRequest.FromString(ours.ModelInferRequest(model_name='a').SerializeToString()))"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert 'model_name: "a"' in result.stdout, result.stderr[-2000:]
