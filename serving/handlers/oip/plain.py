"""Messages as plain data, for JSON as clients of the Open Inference Protocol read it: whole numbers stay numbers."""

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message


def as_plain(message: Message) -> dict[str, Any]:
    """Return every field of a message by its name, those of value zero among them; but no message that is not set."""
    plain: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        is_absent = field.has_presence and not message.HasField(field.name)
        if not is_absent:
            plain[field.name] = _plain(field, getattr(message, field.name))
    return plain


def _plain(field: Any, value: Any) -> Any:
    if isinstance(value, Message):
        return as_plain(value)
    if isinstance(value, Mapping):
        return {key: as_plain(each) if isinstance(each, Message) else each for key, each in value.items()}
    if field.is_repeated:
        return [as_plain(each) if isinstance(each, Message) else each for each in value]
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name
    return value
