"""Requests of the Open Inference Protocol in JSON, with binary tensors or without, as messages; and answers in turn.

Binary tensors follow the JSON in the order of the inputs: each input says its `binary_data_size`, and the header
`Inference-Header-Content-Length` says where the JSON ends.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from polserve.protos.polserve.oip.v2 import inference_pb2 as pb
from polserve.protos.tensors import TensorError, cast
from polserve.serving.errors import InvalidRequest
from polserve.serving.handlers.oip.plain import as_plain
from polserve.serving.handlers.oip.tensors import DATATYPES, dtype_of, shape_of
from polserve.serving.http.messages import BINARY, JSON, Answer
from polserve.serving.http.strict_json import MAX_JSON_BYTES, as_text, dump, numbers, parse_object, shown

LENGTH_HEADER = b"inference-header-content-length"
"""Name of the header that says how many bytes of a body are JSON."""
SIZE = "binary_data_size"
BINARY_OUTPUT = "binary_data"
ALL_BINARY = "binary_data_output"
INT64_BITS = 63

FIELDS = ("id", "parameters", "inputs", "outputs", "model_name", "model_version")
"""What a request may say; the last two are what the path says already."""
INPUT_FIELDS = ("name", "datatype", "shape", "data", "parameters")
OUTPUT_FIELDS = ("name", "parameters", "datatype", "shape", "data")
"""What an output may say that is asked for; some clients send its whole form."""


@dataclass(frozen=True, slots=True)
class InferQuestion:
    """A request, and the form of its answer."""

    message: pb.ModelInferRequest
    are_all_binary: bool
    """Whether outputs come as binary tensors where nothing else is said of them."""
    binary: Mapping[str, bool]
    """Whether an output is to come as a binary tensor, by its name."""


def read_infer(name: str, version: str, body: bytes, json_length: bytes | None) -> InferQuestion:
    """Return what a body asks of a model.

    Args:
        name: of the model.
        version: of it, or an alias; "" for the champion.
        body: JSON, and the binary tensors after it.
        json_length: header that says where the JSON ends; None where all of it is JSON.

    Raises:
        InvalidRequest: it is not what a request may be.
    """
    n_json = len(body) if json_length is None else _json_length(json_length, len(body))
    said = parse_object(body[:n_json])
    _check_fields("body", said, FIELDS)
    message = pb.ModelInferRequest(model_name=name, model_version=version, id=as_text("id", said.get("id", "")))
    parameters = _object("parameters", said.get("parameters", {}))
    are_all_binary = _flag(f"parameters.{ALL_BINARY}", parameters.pop(ALL_BINARY, False))
    _set_parameters("parameters", parameters, message.parameters)
    _read_inputs(said, memoryview(body)[n_json:], message)
    binary = {}
    for i, output in enumerate(_list("outputs", said.get("outputs", []))):
        field = f"outputs[{i}]"
        asked = _object(field, output)
        _check_fields(field, asked, OUTPUT_FIELDS)
        output_name = as_text(f"{field}.name", asked.get("name"))
        wanted = _object(f"{field}.parameters", asked.get("parameters", {}))
        if BINARY_OUTPUT in wanted:
            binary[output_name] = _flag(f"{field}.parameters.{BINARY_OUTPUT}", wanted.pop(BINARY_OUTPUT))
        _set_parameters(f"{field}.parameters", wanted, message.outputs.add(name=output_name).parameters)
    return InferQuestion(message, are_all_binary, binary)


def answer_infer(response: bytes, question: InferQuestion) -> Answer:
    """Return a serialised ModelInferResponse as the answer to a question."""
    message = pb.ModelInferResponse.FromString(response)
    outputs, tensors = [], []
    for output, raw in zip(message.outputs, message.raw_output_contents, strict=True):
        said: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": list(output.shape)}
        if question.binary.get(output.name, question.are_all_binary):
            said["parameters"] = {SIZE: len(raw)}
            tensors.append(raw)
        else:
            said["data"] = np.frombuffer(raw, DATATYPES[output.datatype]).tolist()
        outputs.append(said)
    head: dict[str, Any] = {"model_name": message.model_name, "model_version": message.model_version}
    if message.id:
        head["id"] = message.id
    if message.parameters:
        head["parameters"] = {
            key: next(iter(as_plain(value).values()), None) for key, value in message.parameters.items()
        }
    text = dump({**head, "outputs": outputs})
    if not tensors:
        return Answer(text, JSON)
    headers = ((LENGTH_HEADER, b"%d" % len(text)),)
    return Answer(b"".join((text, *tensors)), BINARY, headers=headers)


def _json_length(header: bytes, most: int) -> int:
    name = LENGTH_HEADER.decode()
    text = header.decode("latin-1")
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and int(text) <= most):
        raise InvalidRequest(name, f"a whole number from 0 to {most}, the length of the body", shown(text))
    if int(text) > MAX_JSON_BYTES:
        raise InvalidRequest(name, f"at most {MAX_JSON_BYTES} bytes of JSON", text)
    return int(text)


def _read_inputs(said: Mapping[str, Any], binary: memoryview, message: pb.ModelInferRequest) -> None:
    """Put the inputs into the message, their numbers as raw contents; raises InvalidRequest."""
    at = 0
    for i, given in enumerate(_list("inputs", said.get("inputs"))):
        field = f"inputs[{i}]"
        tensor = _object(field, given)
        _check_fields(field, tensor, INPUT_FIELDS)
        name, datatype = (
            as_text(f"{field}.name", tensor.get("name")),
            as_text(f"{field}.datatype", tensor.get("datatype")),
        )
        shape = _shape(f"{field}.shape", name, tensor.get("shape"))
        parameters = _object(f"{field}.parameters", tensor.get("parameters", {}))
        size = parameters.pop(SIZE, None)
        if size is None:
            raw = pack(field, name, datatype, shape, tensor.get("data"))
        else:
            raw = _cut(f"{field}.parameters.{SIZE}", size, binary[at:])
            at += len(raw)
            if "data" in tensor:
                raise InvalidRequest(field, f"one of the two: data, or parameters.{SIZE}", "both")
        added = message.inputs.add(name=name, datatype=datatype, shape=shape)
        _set_parameters(f"{field}.parameters", parameters, added.parameters)
        message.raw_input_contents.append(raw)
    if at != len(binary):
        raise InvalidRequest("body", f"{at} bytes after the JSON, as the inputs say", f"{len(binary)}")


def pack(field: str, name: str, datatype: str, shape: Sequence[int], data: object) -> bytes:
    """Return the numbers of an input as raw contents; nested or not, row-major.

    Raises:
        InvalidRequest: there are not as many as the shape says, or the datatype does not hold one.
    """
    dtype = dtype_of(name, datatype)
    if data is None:
        raise InvalidRequest(f"{field}.data", f"numbers, or parameters.{SIZE} with a binary tensor", "none")
    array = numbers(data, f"{field}.data", wanted=dtype)
    if array.dtype.kind == "b" != dtype.kind:
        raise InvalidRequest(f"{field}.data", f"numbers for {datatype}", "true or false")
    if array.size != prod(shape):
        raise InvalidRequest(f"{field}.data", f"{prod(shape)} values for the shape {list(shape)}", str(array.size))
    try:
        return cast(array.reshape(-1), dtype).tobytes()
    except TensorError as error:
        raise InvalidRequest(f"{field}.data", error.expected, error.got) from error


def _cut(field: str, size: object, binary: memoryview) -> bytes:
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(binary):
        left = f"{len(binary)}, the bytes that are left after the JSON and the inputs before"
        raise InvalidRequest(field, f"a whole number from 0 to {left}", shown(size))
    return bytes(binary[:size])


def _set_parameters(field: str, said: Mapping[str, Any], parameters: Any) -> None:
    """Put parameters into a map of a message; raises InvalidRequest."""
    for name, value in said.items():
        parameter = parameters[as_text(field, name)]
        match value:
            case bool():
                parameter.bool_param = value
            case int() if abs(value) < 1 << INT64_BITS:
                parameter.int64_param = value
            case float():
                parameter.double_param = value
            case str():
                parameter.string_param = as_text(f"{field}.{name}", value)
            case _:
                raise InvalidRequest(f"{field}.{name}", "a number, a text, true or false", shown(value))


def _check_fields(field: str, said: Mapping[str, Any], known: Sequence[str]) -> None:
    if unknown := [name for name in said if name not in known]:
        raise InvalidRequest(field, f"the fields {', '.join(known)}", shown(unknown[0]))


def _object(field: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidRequest(field, "an object", shown(value))
    return dict(value)


def _list(field: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidRequest(field, "a list", shown(value))
    return value


def _flag(field: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequest(field, "true or false", shown(value))
    return value


def _shape(field: str, name: str, value: object) -> tuple[int, ...]:
    for extent in _list(field, value):
        if isinstance(extent, bool) or not isinstance(extent, int) or not 0 <= extent < 1 << INT64_BITS:
            raise InvalidRequest(field, "whole numbers of at least 0", shown(extent))
    return shape_of(name, _list(field, value))
