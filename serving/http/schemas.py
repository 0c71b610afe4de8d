"""What requests and answers look like, as JSON Schema: for /openapi.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from polserve.serving.http.message_json import FLOATS, RANGES

Schema: TypeAlias = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
NUMBER: Schema = {"anyOf": [{"type": "number"}, {"enum": ["Infinity", "-Infinity", "NaN"]}]}
"""A number of an answer; JSON does not know those that are text here."""
NUMBERS: Schema = {
    "description": "numbers in nested lists, or a single number; leading axes are those of the observation",
    "anyOf": [{"type": "number"}, {"type": "string"}, {"type": "boolean"}, {"type": "array"}],
}


def obj(properties: Mapping[str, Schema], *required: str) -> Schema:
    """Return the schema of an object that has no other properties."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def array(items: Schema) -> Schema:
    """Return the schema of an array."""
    return {"type": "array", "items": items}


ERROR = obj({"error": TEXT, "code": {**TEXT, "description": "a status code of gRPC"}}, "error", "code")
ACT_REQUEST = obj(
    {
        "observation": {
            "description": "one observation, or a list of them: numbers in nested lists; an object with the keys of "
            "a Dict, a list of the parts of a Tuple",
            "anyOf": [{"type": "number"}, {"type": "array"}, {"type": "object"}],
        },
        "version": {
            "description": 'a number such as "7", or an alias such as "@challenger"; empty for the champion',
            "anyOf": [TEXT, {"type": "integer"}],
        },
        "with_values": {**FLAG, "description": "whether to answer the network's values, too"},
        "epsilon": {
            "description": "probability that an action is drawn at random instead",
            "type": "number",
            "minimum": 0,
            "maximum": 1,
        },
        "state": {**TEXT, "description": "of a recurrent policy: the state of the answer before"},
    },
    "observation",
)
ACT_ANSWER = obj(
    {
        "policy": TEXT,
        "version": TEXT,
        "action": NUMBERS,
        "values": NUMBERS,
        "explored": array(FLAG),
        "state": TEXT,
    },
    "policy",
    "version",
    "action",
)
_PARAMETERS: Schema = {
    "type": "object",
    "additionalProperties": {"anyOf": [FLAG, TEXT, {"type": "number"}]},
}
_SHAPE = array({"type": "integer", "minimum": 0, "maximum": 2**63 - 1})
_INPUT = obj(
    {
        "name": TEXT,
        "datatype": {**TEXT, "description": 'such as "FP32"'},
        "shape": _SHAPE,
        "data": {"description": "numbers, row-major, nested or not; absent for a binary tensor"},
        "parameters": _PARAMETERS,
    },
    "name",
    "datatype",
    "shape",
)
_WANTED = obj({"name": TEXT, "parameters": _PARAMETERS, "datatype": {}, "shape": {}, "data": {}}, "name")
_OUTPUT = obj(
    {"name": TEXT, "datatype": TEXT, "shape": _SHAPE, "data": array({}), "parameters": _PARAMETERS},
    "name",
    "datatype",
    "shape",
)
INFER_REQUEST = obj(
    {
        "id": TEXT,
        "parameters": _PARAMETERS,
        "inputs": array(_INPUT),
        "outputs": array(_WANTED),
        "model_name": {},
        "model_version": {},
    },
    "inputs",
)
INFER_ANSWER = obj(
    {
        "model_name": TEXT,
        "model_version": TEXT,
        "id": TEXT,
        "parameters": _PARAMETERS,
        "outputs": array(_OUTPUT),
    },
    "model_name",
    "model_version",
    "outputs",
)


@dataclass(frozen=True, slots=True)
class Operation:
    """What a route takes and answers, for the document."""

    answer: Schema
    """Schema of its answer; empty for text."""
    body: Schema | None = None
    """Schema of the body that it takes; None where it takes none."""
    example: Any = None
    """A body."""
    others: tuple[int, ...] = ()
    """Statuses under which it gives the same answer."""
    name: str = ""
    """Unique name, for those who generate clients."""


def answer_schema(kind: type[Message]) -> Schema:
    """Return the schema of a message as an answer: it has all fields, but no message that is not set."""
    return _message(kind.DESCRIPTOR, is_answer=True)


def body_schema(kind: type[Message]) -> Schema:
    """Return the schema of a message as a body, in which any field may be left out."""
    return _message(kind.DESCRIPTOR, is_answer=False)


def _message(message: Any, *, is_answer: bool) -> Schema:
    properties = {one.name: _field(one, is_answer=is_answer) for one in message.fields}
    required = [one.name for one in message.fields if is_answer and not one.has_presence]
    return obj(properties, *required)


def _field(one: Any, *, is_answer: bool) -> Schema:
    if one.message_type is not None and one.message_type.GetOptions().map_entry:
        value = one.message_type.fields_by_name["value"]
        return {"type": "object", "additionalProperties": _item(value, is_answer=is_answer)}
    item = _item(one, is_answer=is_answer)
    return array(item) if one.is_repeated else item


def _item(one: Any, *, is_answer: bool) -> Schema:
    if one.message_type is not None:
        return _message(one.message_type, is_answer=is_answer)
    if one.enum_type is not None:
        return {"type": "string", "enum": [value.name for value in one.enum_type.values]}
    if (bounds := RANGES.get(one.cpp_type)) is not None:
        return {"type": "integer", "minimum": bounds[0], "maximum": bounds[1]}
    if one.cpp_type in FLOATS:
        return NUMBER if is_answer else {"type": "number"}
    return FLAG if one.cpp_type == FieldDescriptor.CPPTYPE_BOOL else TEXT
