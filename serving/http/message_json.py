"""Messages of protobuf in strict JSON: fields by their own names, numbers as numbers, errors that name the field."""

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from polserve.serving.errors import InvalidRequest
from polserve.serving.http.strict_json import as_text, shown

RANGES: Mapping[int, tuple[int, int]] = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
"""Least and greatest whole number that a field of a type holds."""
FLOATS = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)


def read_message(said: object, message: Message, at: str = "") -> None:
    """Put what a JSON object says into a message.

    Args:
        said: the object.
        message: an empty one.
        at: what the object is called in errors, with a dot; empty for the body.

    Raises:
        InvalidRequest: it says something else than the message may hold.
    """
    if not isinstance(said, dict):
        raise InvalidRequest(at.rstrip(".") or "body", "a JSON object", shown(said))
    known = message.DESCRIPTOR.fields_by_name
    for name, value in said.items():
        field = known.get(name)
        if field is None:
            raise InvalidRequest(at.rstrip(".") or "body", f"the fields {', '.join(known)}", shown(name))
        if field.is_repeated:
            if not isinstance(value, list):
                raise InvalidRequest(f"{at}{name}", "a list", shown(value))
            for i, each in enumerate(value):
                place, items = f"{at}{name}[{i}]", getattr(message, name)
                if field.message_type is not None:
                    read_message(each, items.add(), f"{place}.")
                else:
                    items.append(_scalar(field, place, each))
        else:
            setattr(message, name, _scalar(field, f"{at}{name}", value))


def _scalar(field: Any, place: str, value: object) -> Any:
    """Return a value that the field holds; raises InvalidRequest."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if (bounds := RANGES.get(field.cpp_type)) is not None:
        low, high = bounds
        if not is_number or isinstance(value, float) or not low <= value <= high:  # type: ignore[operator]
            raise InvalidRequest(place, f"a whole number from {low} to {high}", shown(value))
        return value
    if field.cpp_type in FLOATS:
        try:
            if is_number:
                return float(value)  # type: ignore[arg-type]
        except OverflowError:
            pass
        raise InvalidRequest(place, "a number that float64 holds", shown(value))
    return as_text(place, value)
